"""Each good pipeline passes; each hostile one is refused by the right stage for the right reason, quickly."""

import time
import tracemalloc
from pathlib import Path

import pytest

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.pipeline import Pipeline, read_pipeline
from tests.support.pipelines import Files, PipelineCase, benign, ddpm, flux, hostile, opened, sd15, sdxl

BENIGN = benign()
HOSTILE = list(hostile())
SECONDS = 2.0
BYTES = 512 << 20


def read(files: Files, folder: Path) -> Pipeline:
    with opened(folder, files) as members:
        return read_pipeline(members)


def named(case: PipelineCase) -> str:
    return case.name.encode("ascii", "replace").decode().replace("\\", "_").replace("/", "_")


def test_there_are_enough_cases_and_no_two_of_one_name() -> None:
    names = [case.name for case in HOSTILE]
    assert len(names) >= 100
    assert len(BENIGN) >= 8
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", BENIGN)
def test_an_ordinary_pipeline_passes_without_a_finding(name: str, tmp_path: Path) -> None:
    start = time.process_time()
    found = read(BENIGN[name], tmp_path)
    assert time.process_time() - start < SECONDS
    assert found.findings == ()
    assert found.facts()["pipeline_findings"] == []


@pytest.mark.parametrize("case", HOSTILE, ids=named)
def test_a_hostile_pipeline_is_refused_at_its_stage_with_its_code(case: PipelineCase, tmp_path: Path) -> None:
    start = time.process_time()
    try:
        found = read(case.files, tmp_path)
        stage, code, reason = "diffusion", found.findings[0].code, found.findings[0].text
    except FormatError as error:
        stage, code, reason = "format_gate", error.code, error.reason
    assert time.process_time() - start < SECONDS
    assert (stage, code) == (case.stage, case.code), reason
    assert 15 < len(reason) < 300
    assert reason.isprintable()


def test_memory_stays_bounded_over_the_largest_files(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        for case in HOSTILE:
            if sum(map(len, case.files.values())) > 1 << 20:
                with pytest.raises(FormatError):
                    read(case.files, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BYTES


def test_the_facts_say_what_it_is_made_of(tmp_path: Path) -> None:
    facts = read(sd15(), tmp_path).facts()
    assert facts["architecture"] == "StableDiffusionPipeline"
    assert {"name": "vae", "library": "diffusers", "class": "AutoencoderKL"} in facts["components"]
    assert len(facts["components"]) == 7
    assert (facts["files"], facts["bytes"]) == (len(sd15()), sum(map(len, sd15().values())))
    assert (facts["quantization"], facts["license"]) == ("F32", "creativeml-openrail-m")
    assert facts["tensor_count"] == sum(facts["tensor_types"].values()) == 8
    assert facts["parameters"] > 5_000


def test_a_part_that_its_author_left_out_is_no_component(tmp_path: Path) -> None:
    names = [one["name"] for one in read(sdxl(), tmp_path).facts()["components"]]
    assert "image_encoder" not in names
    assert "unet" in names


def test_all_weights_are_there_by_path(tmp_path: Path) -> None:
    found = read(flux(), tmp_path)
    assert sum(path.startswith("transformer/") for path in found.weights) == 2
    assert all(one.path == path for path, one in found.weights.items())


def test_a_path_of_the_authors_machine_is_mentioned_and_not_refused(tmp_path: Path) -> None:
    found = read(flux(), tmp_path)
    assert [(note.code, note.file) for note in found.notes] == [("settings.origin", "vae/config.json")]
    assert "/root/.cache" in found.notes[0].text


def test_the_fingerprint_is_that_of_the_structure(tmp_path: Path) -> None:
    first = read(sd15(), tmp_path).fingerprint()
    other_numbers = {path: data[:-4] + b"\0\0\0\0" if path.endswith("safetensors") else data
                     for path, data in sd15().items()}  # fmt: skip
    assert read(other_numbers, tmp_path).fingerprint() == first
    assert len({first, read(ddpm(), tmp_path).fingerprint(), read(sdxl(), tmp_path).fingerprint()}) == 3


def test_the_refusal_of_a_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        read(sd15() | {"unet/diffusion_pytorch_model.bin": b"x"}, tmp_path)
    assert "only safetensors is accepted. Leave it out" in caught.value.reason


def test_the_refusal_of_weights_names_their_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        read(sd15() | {"vae/diffusion_pytorch_model.safetensors": b"\x80\x04" + bytes(30)}, tmp_path)
    assert caught.value.path == "vae/diffusion_pytorch_model.safetensors"
    assert "vae/diffusion_pytorch_model.safetensors" in caught.value.reason


def test_findings_are_counted_to_a_limit(tmp_path: Path) -> None:
    many = b'{"a": [' + b'"https://x",' * 5_000 + b'"x"]}'
    assert len(read(sd15() | {"vae/config.json": many}, tmp_path).findings) == 50
