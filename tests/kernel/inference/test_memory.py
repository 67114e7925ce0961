from secai_site.kernel.inference.memory import needed, private_bytes, resident_bytes

MB = 1_000_000


def test_mapped_weights_count_with_the_cache_and_the_buffers() -> None:
    assert needed(100 * MB, before=50 * MB, with_weights=60 * MB, with_context=90 * MB) == 130 * MB


def test_weights_that_were_copied_while_loading_count_once() -> None:
    assert needed(100 * MB, before=50 * MB, with_weights=155 * MB, with_context=185 * MB) == 135 * MB


def test_a_buffer_is_private_when_it_is_asked_for_and_resident_when_it_is_touched() -> None:
    private, resident = private_bytes(), resident_bytes()
    buffer = bytearray(64 * MB)  # zeroed by the kernel, so untouched
    assert private_bytes() - private >= 64 * MB
    buffer[:] = b"x" * len(buffer)
    assert resident_bytes() - resident >= 60 * MB
