"""A reward model on a server: a stub stands for vLLM, llama.cpp and Ollama."""

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robot_learning.rewards import (
    Calibration,
    PictureError,
    PromptedReward,
    QuestionError,
    RewardModel,
    load_reward,
    save_reward,
)
from robot_learning.rewards.json_post import BudgetError, JsonPoster, PostConfig, ServerError
from robot_learning.rewards.prompted import PromptError, plain_book
from robot_learning.rewards.server import (
    TEXT_LOGIT,
    ChatServer,
    ServerConfig,
    UnusableAnswerError,
    data_uri,
    read_answer,
)
from tests.rewards.stub_server import Reply, Stub, said, stub
from tests.rewards.worlds import QUESTIONS

OPEN = QUESTIONS[0].text
PICTURES = [np.full((1, 8, 10, 3), level, np.uint8) for level in (30, 200)]


def server_at(url: str, waits: list[float] | None = None, **settings: Any) -> ChatServer:
    """Asks the stub at `url`; waits are written down and not waited."""
    config = ServerConfig(url=url, **{"parallel": 1, "timeout": 20.0, **settings})
    poster = JsonPoster(f"{url}/chat/completions", config, (waits if waits is not None else []).append)
    return ChatServer("a-model", None, config, poster)


def reward_at(url: str, **settings: Any) -> PromptedReward:
    calibration = Calibration((2.0, 1.0, 1.0), (0.5, 0.0, 0.0), 0.7, 0.3)
    return PromptedReward(
        server_at(url, **settings), ("front", "wrist"), plain_book(QUESTIONS), calibration, (0.5, 0.1), {"data": "x"}
    )


def images(count: int | None = None) -> dict[str, np.ndarray]:
    shape = (8, 10, 3) if count is None else (count, 8, 10, 3)
    return {"front": np.full(shape, 30, np.uint8), "wrist": np.full(shape, 200, np.uint8)}


def logit(reply: Reply) -> float:
    return read_answer(json.loads(reply.body))[0]


def test_the_request_is_a_chat_completion_with_the_pictures_in_order() -> None:
    with stub([said("Yes")]) as there:
        server_at(there.url, picture="png").ask(PICTURES, [OPEN])
    (payload,) = there.seen
    *pictures, text = payload["messages"][0]["content"]
    decoded = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(p["image_url"]["url"].split(",")[1])))) for p in pictures
    ]
    assert [int(picture[0, 0, 0]) for picture in decoded] == [30, 200]
    assert text == {"type": "text", "text": f"{OPEN} Answer with yes or no."}
    assert (there.paths, payload["model"], payload["temperature"]) == (["/v1/chat/completions"], "a-model", 0)
    assert (payload["logprobs"], payload["top_logprobs"]) == (True, 20)


def test_a_data_uri_is_a_picture() -> None:
    uri = data_uri(PICTURES[0][0], "jpeg")
    assert uri.startswith("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size == (10, 8)


def test_logprobs_of_all_spellings_are_the_answer() -> None:
    reply = said("Yes", {"Yes": 0.5, " yes": 0.1, "No": 0.2, "The": 0.1})
    found, share = read_answer(json.loads(reply.body))
    assert (found, share) == pytest.approx((math.log(0.6 / 0.2), 0.8))


def test_a_word_that_is_not_listed_is_less_likely_than_those_listed() -> None:
    assert logit(said("Yes", {"Yes": 0.9, "The": 0.01})) == pytest.approx(math.log(0.9 / 0.01))


def test_logprobs_win_over_the_text() -> None:
    assert logit(said("Yes", {"Yes": 0.4, "No": 0.5})) < 0


@pytest.mark.parametrize("text", ["Yes.", "yes, it is", " **Yes**", "YES"])
def test_a_text_that_begins_with_yes_is_yes(text: str) -> None:
    assert logit(said(text)) == TEXT_LOGIT


@pytest.mark.parametrize("text", ["No", "no, it is closed"])
def test_a_text_that_begins_with_no_is_no(text: str) -> None:
    assert logit(said(text)) == -TEXT_LOGIT


def test_logprobs_without_yes_or_no_leave_it_to_the_text() -> None:
    assert logit(said("**Yes**", {"**": 0.9, "The": 0.1})) == TEXT_LOGIT


@pytest.mark.parametrize("text", ["", "Not sure", "The drawer is open, yes", "nobody knows"])
def test_anything_else_is_unusable(text: str) -> None:
    with pytest.raises(UnusableAnswerError, match="begins with yes or no"):
        logit(said(text))


@pytest.mark.parametrize("answer", [[], {}, {"choices": []}, {"choices": [{"message": "hello"}]}])
def test_another_kind_of_json_is_unusable(answer: Any) -> None:
    with pytest.raises(UnusableAnswerError, match="chat completion"):
        read_answer(answer)


@pytest.mark.parametrize("token", [None, 5, {}])
def test_a_token_that_is_no_text_leaves_it_to_the_text(token: Any) -> None:
    top = [{"token": token, "logprob": -0.1}]
    logprobs = {"content": [{"token": token, "logprob": -0.1, "top_logprobs": top}]}
    assert read_answer({"choices": [{"message": {"content": "no"}, "logprobs": logprobs}]})[0] == -TEXT_LOGIT


@pytest.mark.parametrize("logprob", [math.nan, math.inf, 1000.0, -math.inf, -9999.0])
def test_no_log_probability_makes_an_answer_infinite(logprob: float) -> None:
    top = [{"token": "yes", "logprob": logprob}, {"token": "no", "logprob": -1.0}]
    logprobs = {"content": [{"token": "no", "logprob": -1.0, "top_logprobs": top}]}
    found, share = read_answer({"choices": [{"message": {"content": "no"}, "logprobs": logprobs}]})
    assert math.isfinite(found) and (math.isnan(share) or 0 <= share <= 1)


def test_a_complaint_about_an_answer_can_be_printed() -> None:
    with pytest.raises(UnusableAnswerError) as caught:
        read_answer("\ud800\x1b[2J")
    assert str(caught.value).isprintable()


def test_an_unusable_answer_is_asked_for_once_more() -> None:
    with stub([said("Well..."), said("no")]) as there:
        answers = server_at(there.url).ask(PICTURES, [OPEN])
    assert (float(answers.logits[0, 0]), len(there.seen)) == (-TEXT_LOGIT, 2)


def test_two_unusable_answers_are_an_error() -> None:
    with stub([said("Well...")]) as there, pytest.raises(UnusableAnswerError, match=r"Well\.\.\."):
        server_at(there.url).ask(PICTURES, [OPEN])
    assert len(there.seen) == 2


def test_garbage_is_asked_for_once_more_and_then_an_error() -> None:
    with stub([Reply(body=b"<html>")]) as there, pytest.raises(ServerError, match="expected JSON, found b'<html>'"):
        server_at(there.url).ask(PICTURES, [OPEN])
    assert len(there.seen) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_after_growing_waits(status: int) -> None:
    waits: list[float] = []
    with stub([Reply(status), Reply(status), said("yes")]) as there:
        answers = server_at(there.url, waits, wait=0.5).ask(PICTURES, [OPEN])
    assert float(answers.logits[0, 0]) == TEXT_LOGIT
    assert waits == [0.5, 1.0]


def test_the_server_may_say_how_long_to_wait() -> None:
    waits: list[float] = []
    with stub([Reply(429, headers={"Retry-After": "7"}), said("yes")]) as there:
        server_at(there.url, waits).ask(PICTURES, [OPEN])
    assert waits == [7.0]


def test_a_server_that_stays_busy_is_given_up() -> None:
    with stub([Reply(503, b"loading the model")]) as there, pytest.raises(ServerError, match=r"503.*loading the model"):
        server_at(there.url, tries=3).ask(PICTURES, [OPEN])
    assert len(there.seen) == 3


def test_a_refusal_is_not_repeated() -> None:
    with stub([Reply(404, b"no such model")]) as there, pytest.raises(ServerError, match=r"404.*no such model"):
        server_at(there.url).ask(PICTURES, [OPEN])
    assert len(there.seen) == 1


def test_a_server_without_logprobs_is_not_asked_for_them_again() -> None:
    def reply(payload: dict[str, Any]) -> Reply:
        return Reply(400, b"top_logprobs must be at most 5") if "logprobs" in payload else said("yes")

    with stub(reply) as there:
        answers = server_at(there.url).ask(PICTURES, [OPEN, OPEN])
    assert answers.logits.tolist() == [[TEXT_LOGIT, TEXT_LOGIT]]
    assert ["logprobs" in payload for payload in there.seen] == [True, False, False]


def test_a_slow_answer_is_a_time_out() -> None:
    with stub([Reply(hold=True)]) as there, pytest.raises(ServerError, match=r"within 0\.2 s, found none"):
        server_at(there.url, timeout=0.2, tries=2).ask(PICTURES, [OPEN])
    assert len(there.seen) == 2


def test_nobody_there() -> None:
    with stub([said("yes")]) as there:
        pass
    with pytest.raises(ServerError, match="ConnectionRefusedError"):
        server_at(there.url).ask(PICTURES, [OPEN])


def test_a_redirect_is_not_followed() -> None:
    with stub([Reply(302, headers={"Location": "/elsewhere"})]) as there, pytest.raises(ServerError, match="302"):
        server_at(there.url).ask(PICTURES, [OPEN])


def test_a_spent_budget_refuses_and_names_the_setting() -> None:
    with stub([said("yes")]) as there:
        server = server_at(there.url, budget=2)
        server.ask(PICTURES, [OPEN, OPEN])
        with pytest.raises(BudgetError, match=r"budget of 2 requests is spent.*--server\.budget"):
            server.ask(PICTURES, [OPEN])
    assert (len(there.seen), server.poster.spent) == (2, 2)


def test_repeated_requests_are_paid_too() -> None:
    with stub([Reply(503)]) as there, pytest.raises(BudgetError):
        server_at(there.url, budget=2, tries=9).ask(PICTURES, [OPEN])
    assert len(there.seen) == 2


def test_the_key_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-123")
    with stub([said("yes")]) as there:
        server_at(there.url, key_variable="MY_KEY").ask(PICTURES, [OPEN])
    assert there.headers[0]["Authorization"] == "Bearer secret-123"


def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with stub([said("yes")]) as there, pytest.raises(ServerError, match="environment variable MY_KEY"):
        server_at(there.url, key_variable="MY_KEY").ask(PICTURES, [OPEN])
    assert there.seen == []


def test_the_key_is_not_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-123")
    with stub([Reply(401, b"bad key secret-123")]) as there, pytest.raises(ServerError) as caught:
        server_at(there.url, key_variable="MY_KEY").ask(PICTURES, [OPEN])
    assert "secret-123" not in str(caught.value)
    assert "bad key" in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host/v1", "http:///v1"])
def test_another_kind_of_address_is_refused(url: str) -> None:
    with pytest.raises(ServerError, match="expected http://"):
        JsonPoster(url, PostConfig())


def test_a_prompt_without_a_place_for_the_question_is_refused() -> None:
    with pytest.raises(PromptError, match=r"\{question\}"):
        ChatServer("a-model", "is it done?")


def brightness(payload: dict[str, Any]) -> Reply:
    """The brighter the first picture, the likelier yes; a question with "closed" turns it round."""
    *pictures, text = payload["messages"][0]["content"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]["image_url"]["url"].split(",")[1]))))
    yes = 0.05 + 0.9 * float(picture.mean()) / 255
    yes = 1 - yes if "closed" in text["text"] else yes
    return said("yes", {"yes": yes, "no": 1 - yes})


@pytest.fixture
def bright() -> Any:
    with stub(brightness) as there:
        yield there


def test_it_is_a_reward_model(bright: Stub) -> None:
    model: RewardModel = reward_at(bright.url)
    assert (model.questions, model.cameras) == (tuple(q.text for q in QUESTIONS), ("front", "wrist"))


def test_a_batch_answers_like_its_pictures_in_order(bright: Stub) -> None:
    model = reward_at(bright.url, parallel=4)
    levels = np.arange(0, 250, 25, dtype=np.uint8)
    batch = {c: np.broadcast_to(levels[:, None, None, None], (10, 8, 10, 3)).copy() for c in model.cameras}
    together = np.asarray(model.probability(batch, OPEN))
    alone = [model.probability({c: i[row] for c, i in batch.items()}, OPEN) for row in range(10)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert (np.diff(together) > 0).all()


def test_all_questions_at_once(bright: Stub) -> None:
    model = reward_at(bright.url)
    every = model.probabilities(images(2))
    assert every.shape == (2, 3)
    for q, text in enumerate(model.questions):
        np.testing.assert_allclose(model.probability(images(2), text), every[:, q], rtol=1e-6)


def test_a_known_wording_is_asked_as_its_question(bright: Stub) -> None:
    model = reward_at(bright.url)
    assert model.probability(images(), "Has the drawer been opened?") == model.probability(images(), OPEN)
    assert {p["messages"][0]["content"][-1]["text"] for p in bright.seen} == {f"{OPEN} Answer with yes or no."}


def test_a_known_question_with_not_has_the_rest(bright: Stub) -> None:
    model = reward_at(bright.url)
    plain, negated = (model.probability(images(), f"is the drawer {word}open?") for word in ("", "not "))
    assert negated == pytest.approx(1 - np.asarray(plain))


def test_any_other_question_is_asked_as_it_stands(bright: Stub) -> None:
    model = reward_at(bright.url)
    p = model.probability(images(), "is the cup full?")
    yes = 0.05 + 0.9 * 30 / 255
    assert p == pytest.approx(1 / (1 + math.exp(-(0.5 * math.log(yes / (1 - yes)) + 0.1))), rel=0.02)
    assert bright.seen[0]["messages"][0]["content"][-1]["text"].startswith("is the cup full?")


@pytest.mark.parametrize(("question", "negated"), [(OPEN, False), ("is the drawer not open?", True)])
def test_success_is_at_the_threshold(bright: Stub, question: str, negated: bool) -> None:
    model = reward_at(bright.url)
    levels = np.arange(0, 250, 25, dtype=np.uint8)
    batch = {c: np.broadcast_to(levels[:, None, None, None], (10, 8, 10, 3)).copy() for c in model.cameras}
    p = model.probabilities(batch)[:, 0]
    expected = p <= model.no_threshold if negated else p >= model.threshold
    assert 0 < expected.sum() < 10
    np.testing.assert_array_equal(model.success(batch, question), expected)


def test_an_empty_question_is_refused(bright: Stub) -> None:
    with pytest.raises(QuestionError, match="empty"):
        reward_at(bright.url).probability(images(), " ")


def test_a_missing_camera_is_named(bright: Stub) -> None:
    with pytest.raises(PictureError, match=r"\['wrist'\] missing"):
        reward_at(bright.url).probabilities({"front": images()["front"]})


def test_a_saved_model_answers_alike(bright: Stub, tmp_path: Path) -> None:
    model = reward_at(bright.url)
    loaded = load_reward(save_reward(tmp_path / "reward", model))
    np.testing.assert_array_equal(loaded.probabilities(images(2)), model.probabilities(images(2)))
    for question in (OPEN, "is the cup full?"):
        assert loaded.probability(images(), question) == model.probability(images(), question)
    assert (loaded.threshold, loaded.no_threshold, loaded.facts) == (0.7, 0.3, {"data": "x"})


def test_the_folder_has_no_key(bright: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-123")
    model = reward_at(bright.url, key_variable="MY_KEY")
    model.probabilities(images())
    folder = save_reward(tmp_path / "reward", model)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json"]
    assert not any("secret-123" in path.read_text() for path in folder.iterdir())
    assert json.loads((folder / "config.json").read_text())["server"]["key_variable"] == "MY_KEY"
