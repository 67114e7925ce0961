"""The message tree, pure."""

import itertools
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.chat.tree import Node, path_to, prompt_of, title_of

A, B, C, D = (UUID(int=n) for n in range(1, 5))


def node(pk: UUID, parent: UUID | None, role: str = "user", content: str = "x") -> Node:
    """A message."""
    return Node(pk, parent, role, content)


def test_a_path_leads_from_the_root_through_one_branch() -> None:
    nodes = [node(A, None), node(B, A, "assistant"), node(C, B), node(D, A, "assistant")]
    assert [n.id for n in path_to(C, nodes)] == [A, B, C]
    assert [n.id for n in path_to(D, nodes)] == [A, D]


def test_a_leaf_of_another_tree_is_an_error() -> None:
    with pytest.raises(KeyError):
        path_to(uuid4(), [node(A, None)])


def test_a_circle_ends() -> None:
    assert len(path_to(A, [node(A, B), node(B, A)])) <= 3


def test_unanswered_questions_are_left_out() -> None:
    path = [node(A, None, "user", "lost"), node(B, A, "assistant", ""), node(C, B, "user", "asked")]
    assert [(m.role, m.content) for m in prompt_of(path, "")] == [("user", "asked")]


def test_a_system_prompt_comes_first() -> None:
    assert [m.role for m in prompt_of([node(A, None)], "Be kind.")] == ["system", "user"]


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=3))))
def test_roles_always_alternate(turns: list[tuple[str, str]]) -> None:
    path = [node(UUID(int=n), None, role, text) for n, (role, text) in enumerate(turns)]
    roles = [m.role for m in prompt_of(path, "")]
    assert all(one != two for one, two in itertools.pairwise(roles))


@pytest.mark.parametrize(
    ("text", "title"),
    [("", "New chat"), ("  \n ", "New chat"), ("Hello\nthere", "Hello there"), ("word " * 30, "word " * 11 + "word…"),
     ("x" * 100, "x" * 60 + "…")],
)  # fmt: skip
def test_titles_are_one_short_line(text: str, title: str) -> None:
    assert title_of(text) == title
