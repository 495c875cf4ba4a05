"""Answers from a queue of one's own: which are given, which are kept, and which are of no use."""

import json
from types import SimpleNamespace

import pytest
from penstock import push_replies
from penstock.push_replies import Replies


class Heard(Replies):
    """Answers that a test gives, in place of a broker's."""

    def _connect(self) -> None:
        self.address = "answers"
        self.coming: list[str] = []

    def _listen(self, wait_s: float) -> None:
        channel = SimpleNamespace(basic_ack=lambda tag: None)
        for tag, id in enumerate(self.coming):
            body = json.dumps({"id": id, "status": "succeeded", "outputs": {"y": [1]}})
            self._hear(channel, SimpleNamespace(delivery_tag=tag), None, body.encode())
        self.coming = []

    def told(self, *coming: str) -> list[str]:
        self.coming = list(coming)
        return [end.id for end in self.take(0)]


@pytest.fixture
def replies() -> Heard:
    return Heard("amqp://broker", patience_s=1)


def test_answer_that_comes_twice_is_given_once_and_not_kept(replies: Heard) -> None:
    replies.expect(["a"])
    assert replies.told("a", "a") == ["a"]
    assert replies.told("a") == []
    assert not replies._early


def test_answer_that_comes_before_it_is_asked_for_is_kept(replies: Heard) -> None:
    replies.expect(["a"])
    assert replies.told("b", "a") == ["a"]
    replies.expect(["b"])
    assert replies.told("b") == ["b"]
    assert not replies._early


def test_job_that_is_asked_for_again_is_answered_again(replies: Heard) -> None:
    for _ in range(2):
        replies.expect(["a"])
        assert replies.told("a") == ["a"]


def test_only_the_newest_answers_are_kept_for_later(replies: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_replies, "EARLY", 3)
    monkeypatch.setattr(push_replies, "TAKEN", 3)
    ids = [f"job-{number}" for number in range(9)]
    replies.told(*ids)
    assert list(replies._early) == ids[-3:]
    replies.expect(ids)
    assert replies.told(*ids[:-3]) == [*ids[-3:], *ids[:-3]]
    assert (len(replies._early), len(replies._taken)) == (0, 3)
