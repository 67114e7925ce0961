"""Will it fit: what llama.cpp allocates for a model, and what this box has learned from its own loads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.models import Artifact
from registry.quarantine.inspect import inspect_file
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.isolated import isolated_engine
from secai_site.kernel.inference.protocol import LoadedModel, ModelFile
from tests.support.builders import held, promoted
from tests.support.cast import Cast
from tests.support.client import ListenerClient, browser
from tests.support.real_models import base_model, chat_model
from ui.catalog import fit
from ui.catalog.memory import Allocation, buffer_bytes, cache_bytes
from ui.catalog.models import MeasuredLoad

MIB = 1024 * 1024
PLAIN = {
    "block_count": 4,
    "head_count": 8,
    "head_count_kv": 2,
    "embedding_length": 512,
    "context_length": 4096,
}
ONE = Allocation(context=1024, slots=4)
"""An allocation that every formula divides evenly."""


# --- what is kept of a token -------------------------------------------------------------------------


def test_keys_and_values_of_all_layers_count() -> None:
    assert cache_bytes(PLAIN, ONE) == 2 * 4 * 2 * 64 * 2 * 1024


def test_heads_default_to_those_that_ask_and_keys_to_the_width() -> None:
    facts = {**PLAIN, "head_count_kv": None}
    assert cache_bytes(facts, ONE) == 2 * 4 * 8 * 64 * 2 * 1024


def test_keys_and_values_may_differ_in_size() -> None:
    assert cache_bytes({**PLAIN, "key_length": 128, "value_length": 32}, ONE) == 4 * 2 * (128 + 32) * 2 * 1024


def test_layers_may_differ_in_heads() -> None:
    assert cache_bytes({**PLAIN, "head_count_kv": [4, 2, 1, 0]}, ONE) == 7 * 2 * 64 * 2 * 1024


def test_layers_that_share_a_cache_have_none_of_their_own() -> None:
    assert cache_bytes({**PLAIN, "shared_kv_layers": 3}, ONE) == cache_bytes(PLAIN, ONE) // 4


def test_cells_are_rounded_up_to_256() -> None:
    assert cache_bytes(PLAIN, replace(ONE, context=1000)) == cache_bytes(PLAIN, ONE)


def test_a_window_saves_nothing_where_the_whole_context_is_kept() -> None:
    facts = {**PLAIN, "sliding_window": 64, "sliding_window_pattern": 2}
    assert cache_bytes(facts, ONE) == cache_bytes(PLAIN, ONE)


@pytest.mark.parametrize("pattern", [4, [1, 1, 1, 0]])
def test_a_window_bounds_its_layers_otherwise(pattern: Any) -> None:
    facts = {**PLAIN, "sliding_window": 64, "sliding_window_pattern": pattern}
    small = replace(ONE, whole_window=False)
    assert cache_bytes(facts, small) == (3 * (64 * 4 + 256) + 1024) * 2 * 2 * 64 * 2
    wide = {**facts, "sliding_window": 10**6}
    assert cache_bytes(wide, small) == cache_bytes(PLAIN, ONE)


def test_latent_attention_keeps_one_vector_a_layer() -> None:
    facts = {
        **PLAIN, "kv_lora_rank": 512, "rope_dimension_count": 64, "key_length_mla": 192, "value_length_mla": 128,
    }  # fmt: skip
    assert cache_bytes(facts, ONE) == (512 + 64) * 2 * 4 * 1024


def test_a_recurrent_model_keeps_the_same_however_long_the_text() -> None:
    facts = {
        **PLAIN, "recurrent": True, "ssm_conv_kernel": 4, "ssm_inner_size": 1024, "ssm_state_size": 16,
        "ssm_group_count": 1,
    }  # fmt: skip
    state = 4 * 4 * 4 * (3 * (1024 + 2 * 16) + 16 * 1024)
    assert cache_bytes(facts, ONE) == cache_bytes(facts, replace(ONE, context=4096)) == state


def test_a_hybrid_model_keeps_both() -> None:
    facts = {
        **PLAIN,
        "recurrent": True,
        "ssm_state_size": 16,
        "ssm_inner_size": 64,
        "full_attention_interval": 2,
    }
    assert cache_bytes(facts, ONE) == 2 * 2 * 2 * 64 * 2 * 1024 + 2 * 16 * 64 * 4 * 4
    listed = {**facts, "full_attention_interval": None, "head_count_kv": [2, 0, 2, 0]}
    assert cache_bytes(listed, ONE) == cache_bytes(facts, ONE)


def test_an_encoder_keeps_nothing() -> None:
    assert cache_bytes({**PLAIN, "causal": False}, ONE) == 0


@pytest.mark.parametrize(
    "facts", [{}, {"block_count": 4}, {"head_count": 0, "block_count": 9}, {"block_count": "4", "head_count": [8]},
              {"block_count": 2, "head_count_kv": [1]}, {"block_count": 2, "head_count_kv": [1, 2, 3], "head_count": 1},
              {"block_count": 2, "sliding_window": 5, "sliding_window_pattern": [], "head_count": 1},
              {"shared_kv_layers": 9, "block_count": 2}, {"recurrent": True}],
)  # fmt: skip
def test_silent_or_odd_headers_give_a_number(facts: dict[str, Any]) -> None:
    assert cache_bytes(facts, ONE) >= 0
    assert buffer_bytes(facts, ONE) > 0


def test_no_more_context_is_counted_than_the_model_knows(settings: Any) -> None:
    settings.ENGINE_CONTEXT = 100_000
    assert fit.need_of(PLAIN, 1).context == 4096
    assert fit.need_of({}, 1).context == 100_000


def test_the_larger_of_scores_and_logits_is_the_buffer() -> None:
    wordy = buffer_bytes({**PLAIN, "vocab_size": 262_144}, ONE)
    longer = buffer_bytes({**PLAIN, "vocab_size": 262_144}, replace(ONE, context=4096))
    assert wordy == longer > 128 * MIB
    assert buffer_bytes(PLAIN, replace(ONE, context=65_536)) > buffer_bytes(PLAIN, ONE) + 200 * MIB


# --- against this box --------------------------------------------------------------------------------


def facts_of(path: Path) -> dict[str, Any]:
    """What the format gate reads."""
    with path.open("rb") as file:
        found = inspect_file(file.fileno())
    assert found.verdict == "pass", found.reason
    return dict(found.facts)


@pytest.mark.parametrize("model", [chat_model, base_model])
@pytest.mark.parametrize("context", [2048, 8192])
async def test_the_estimate_is_near_what_a_load_takes(model: Any, context: int, tmp_path: Path) -> None:
    path: Path = model()
    loaded = await load_alone(path, context, tmp_path)
    need = fit.need_of(facts_of(path), path.stat().st_size, context)
    print(
        f"{path.name} {context}: estimated {need.total / MIB:.0f} MiB, needed {loaded.memory_bytes / MIB:.0f} MiB"
    )
    assert 0.8 < loaded.memory_bytes / need.total < 1.25


async def load_alone(path: Path, context: int, folder: Path) -> LoadedModel:
    """The model in an engine of its own."""
    from secai_site.kernel.files import sha256_of

    with path.open("rb") as file:
        digest = sha256_of(file.fileno())
    async with isolated_engine(path.parent, folder, context=context, slots=4, threads=2) as engine:
        return await engine.load(ModelFile("m", path.name, digest))


@pytest.fixture
def olga(cast: Cast, peers: EchoEngine, monkeypatch: pytest.MonkeyPatch) -> ListenerClient:
    """The operator's browser, on a box with 4 GiB free."""
    monkeypatch.setattr(fit, "available_bytes", lambda: 4096 * MIB)
    return browser(cast.operator)


def ask(client: ListenerClient, **query: Any) -> dict[str, Any]:
    """What is said about the fit."""
    answer = client.get("/api/models/fit", query)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def with_facts(name: str, **facts: Any) -> Artifact:
    """A promoted model whose header says this."""
    made = promoted(name)
    made.facts |= facts
    made.save()
    return made


def measured(digest: str, context: int, estimate: int, took: int) -> None:
    MeasuredLoad.objects.create(
        sha256=digest, context=context, needed_estimate_bytes=estimate, measured_bytes=took
    )


@pytest.mark.django_db(transaction=True)
def test_parts_and_verdict_are_told(olga: ListenerClient, settings: Any) -> None:
    settings.ENGINE_CONTEXT = 1024
    with_facts("tiny", **PLAIN)
    found = ask(olga, name="TINY")
    assert found == {
        "name": "TINY", "verdict": "fits", "free_bytes": 4096 * MIB, "weights_bytes": 256,
        "cache_bytes": cache_bytes(PLAIN, ONE), "buffers_bytes": buffer_bytes(PLAIN, ONE), "basis": "estimated",
        "needed_bytes": 256 + cache_bytes(PLAIN, ONE) + buffer_bytes(PLAIN, ONE),
    }  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("size", "verdict"), [(1, "fits"), (3600 * MIB, "tight"), (5000 * MIB, "no"), (2**60, "no")]
)
def test_a_size_alone_is_a_rough_answer(olga: ListenerClient, size: int, verdict: str) -> None:
    found = ask(olga, size_bytes=size)
    assert (found["verdict"], found["basis"], found["weights_bytes"], found["cache_bytes"]) == (
        verdict, "size", size, 0,
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_file_in_quarantine_is_weighed_once_its_format_is_known(olga: ListenerClient) -> None:
    item = held("waits", b"other")
    assert ask(olga, id=str(item.pk))["weights_bytes"] == 5
    row = next(m for m in olga.get("/api/models").json() if m["name"] == "waits")
    assert row["fit"]["basis"] == "estimated"
    item.stages.all().delete()
    assert olga.get("/api/models/fit", {"id": str(item.pk)}).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_weighed_is_refused(olga: ListenerClient) -> None:
    promoted("weights", format="safetensors")
    good: list[dict[str, Any]] = [{"name": "weights"}, {"name": "missing"}, {"name": ".."}]
    for query in (*good, {"id": "00000000-0000-4000-8000-000000000000"}):
        assert olga.get("/api/models/fit", query).status_code == 404, query
    for query in (
        {}, {"name": ""}, {"name": "a\0"}, {"id": "x"}, {"size_bytes": "0"}, {"size_bytes": "-1"},
        {"size_bytes": "1.5"}, {"size_bytes": str(2**61)}, {"size_bytes": "9" * 5000}, {"name": "a", "size_bytes": "1"},
        {"color": "blue"},
    ):  # fmt: skip
        assert olga.get("/api/models/fit", query).status_code == 400, query


@pytest.mark.django_db(transaction=True)
def test_other_loads_correct_the_estimate(olga: ListenerClient) -> None:
    promoted("tiny")
    before = ask(olga, name="tiny")["needed_bytes"]
    for number, took in enumerate((100, 130, 900)):
        measured(f"{number:064d}", 512, 100, took)
    found = ask(olga, name="tiny")
    assert (found["basis"], found["needed_bytes"]) == ("calibrated", round(before * 1.3))
    MeasuredLoad.objects.update(measured_bytes=100_000)
    assert ask(olga, name="tiny")["needed_bytes"] == round(before * 1.5)
    MeasuredLoad.objects.update(measured_bytes=1)
    assert ask(olga, name="tiny")["needed_bytes"] == round(before * 0.7)
    assert ask(olga, size_bytes=10)["basis"] == "size"


@pytest.mark.django_db(transaction=True)
def test_a_load_of_the_same_model_is_believed(olga: ListenerClient, settings: Any) -> None:
    model = with_facts("tiny", context_length=2048)
    measured(model.sha256, 2048, 100, 7000 * MIB)
    found = ask(olga, name="tiny")
    assert (found["basis"], found["needed_bytes"], found["verdict"]) == ("measured", 7000 * MIB, "no")
    settings.ENGINE_CONTEXT = 1024
    assert ask(olga, name="tiny")["basis"] == "calibrated"


@pytest.mark.django_db(transaction=True)
def test_what_unloading_would_free_is_free(olga: ListenerClient) -> None:
    model = promoted("tiny")
    promoted("other")
    measured(model.sha256, 8192, 100 * MIB, 1000 * MIB)
    assert ask(olga, name="other")["free_bytes"] == 4096 * MIB
    assert olga.send("POST", "/api/models/tiny/load", {}).status_code == 200
    assert ask(olga, name="other")["free_bytes"] == 5096 * MIB - model.size_bytes


@pytest.mark.django_db(transaction=True)
def test_a_load_is_remembered(
    olga: ListenerClient, peers: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted("tiny")
    assert olga.send("POST", "/api/models/tiny/load", {}).status_code == 200
    assert not MeasuredLoad.objects.exists()  # an engine that measured nothing teaches nothing
    real = EchoEngine.load

    async def load(self: EchoEngine, model: ModelFile) -> LoadedModel:
        return replace(await real(self, model), memory_bytes=123 * MIB)

    monkeypatch.setattr(EchoEngine, "load", load)
    for _ in range(2):
        assert olga.send("POST", "/api/models/tiny/load", {}).status_code == 200
    row = MeasuredLoad.objects.get()
    assert (row.context, row.measured_bytes) == (4096, 123 * MIB)
    assert row.needed_estimate_bytes == fit.need_of({}, 256, 4096).total
