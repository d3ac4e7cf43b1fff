"""A vision-language model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, ...), asked over HTTP.

One request for each picture and question: the pictures of all cameras as data URIs in one message of /chat/completions, then
the question. Where the server gives `top_logprobs` of the first word, they are the answer; elsewhere the text must begin with
yes or no.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from robot_learning.errors import UserError
from robot_learning.rewards.json_post import JsonPoster, PostConfig, ServerError
from robot_learning.rewards.prompted import PROMPT, Answers, filled

TEXT_LOGIT = 3.0  # of an answer in words alone: P = 0.95 before it is calibrated
TOP = 20  # the most that OpenAI's interface has, and vLLM's default limit
FIRST_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
UNUSABLE_TRIES = 2
LEAST = 1e-9  # probability of a word that is not listed: logits stay within 21


class UnusableAnswerError(UserError, ValueError):
    """The server's answer is neither yes nor no, twice in a row; quotes it."""


@dataclass(frozen=True)
class ServerConfig(PostConfig):
    """Where the server is, and how it is asked."""

    url: str = "http://127.0.0.1:8000/v1"
    """Address up to the version: vLLM http://HOST:8000/v1, llama.cpp http://HOST:8080/v1, Ollama http://HOST:11434/v1."""
    top_logprobs: int = TOP
    """Ask for the probabilities of so many first words; 0 for servers that have none."""
    max_tokens: int = 8
    """Longest answer [token]."""
    picture: Literal["jpeg", "png"] = "jpeg"
    """How pictures are sent; PNG is exact and larger."""
    parallel: int = 4
    """Requests under way at once."""


class ChatServer:
    """An `Asker` that asks a server. `model`: the name the server knows it by. `prompt`: has {question} in it."""

    def __init__(
        self,
        model: str,
        prompt: str | None = None,
        config: ServerConfig | None = None,
        poster: JsonPoster | None = None,
    ) -> None:
        self.model, self.prompt, self.config = model, prompt or PROMPT, config or ServerConfig()
        filled(self.prompt, "")
        self.poster = poster or JsonPoster(f"{self.config.url.rstrip('/')}/chat/completions", self.config)
        self._top_logprobs = self.config.top_logprobs

    def ask(self, pictures: Sequence[np.ndarray], questions: Sequence[str]) -> Answers:
        """Answer every question for every picture, `(B, Q)`; the pictures are encoded once.

        Raises:
            ServerError, BudgetError: no answer, or no more requests. UnusableAnswerError: neither yes nor no.
        """
        count = len(pictures[0])
        uris = [[data_uri(camera[row], self.config.picture) for camera in pictures] for row in range(count)]
        jobs = [(row, question) for row in range(count) for question in questions]
        with ThreadPoolExecutor(max(1, self.config.parallel)) as pool:
            found = list(pool.map(lambda job: self._ask_once(uris[job[0]], job[1]), jobs))
        every = np.array(found, np.float32).reshape(count, len(questions), 2)
        return Answers(every[..., 0], every[..., 1])

    def _ask_once(self, uris: Sequence[str], question: str) -> tuple[float, float]:
        for attempt in range(1, UNUSABLE_TRIES + 1):
            try:
                return read_answer(self._post(uris, question))
            except UnusableAnswerError:
                if attempt == UNUSABLE_TRIES:
                    raise
            except ServerError as error:  # what came was no JSON
                if attempt == UNUSABLE_TRIES or error.status != 200:
                    raise
        raise AssertionError("unreachable")

    def _post(self, uris: Sequence[str], question: str) -> Any:
        """One exchange; a server that refuses because of the log-probabilities is never asked for them again."""
        asked_for = self._top_logprobs
        try:
            return self.poster(self._payload(uris, question, asked_for))
        except ServerError as error:
            if not asked_for or error.status not in (400, 422) or "logprobs" not in str(error):
                raise
            self._top_logprobs = 0
            return self.poster(self._payload(uris, question, 0))

    def _payload(self, uris: Sequence[str], question: str, top_logprobs: int) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
        content.append({"type": "text", "text": filled(self.prompt, question)})
        logprobs = {"logprobs": True, "top_logprobs": top_logprobs} if top_logprobs else {}
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.config.max_tokens,
            "temperature": 0,
            **logprobs,
        }


def data_uri(image: np.ndarray, kind: str) -> str:
    """A picture `(H, W, 3)` uint8 as a data URI of `kind` jpeg or png."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=95)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def read_answer(answer: Any) -> tuple[float, float]:
    """Logit and share of yes and no (`Answers`) of a chat completion.

    Raises:
        UnusableAnswerError: it is no chat completion, or does not begin with yes or no.
    """
    try:
        choice = answer["choices"][0]
        text = str(choice["message"].get("content") or "")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UnusableAnswerError(f"server: expected a chat completion, found {repr(answer)[:200]}") from error
    return _from_logprobs(choice) or _from_text(text)


def _from_logprobs(choice: dict[str, Any]) -> tuple[float, float] | None:
    """From the likeliest first words, all spellings together; None where there are none, or neither yes nor no is one."""
    try:
        first = next(token for token in choice["logprobs"]["content"] if str(token["token"]).strip())
        top = [(str(entry["token"]), min(float(entry["logprob"]), 0.0)) for entry in first["top_logprobs"]]
    except (KeyError, TypeError, ValueError, StopIteration):
        return None
    if any(math.isnan(p) for _, p in top):
        return None
    found = {word: sum(math.exp(p) for token, p in top if _plain(token) == word) for word in ("yes", "no")}
    share = found["yes"] + found["no"]
    if not share:
        return None
    # a word that is not listed has at most the probability of the last one listed, and of what is left
    left = max(min(math.exp(min(p for _, p in top)), 1.0 - sum(math.exp(p) for _, p in top)), LEAST)
    logit = math.log(found["yes"] or left) - math.log(found["no"] or left)
    return logit, min(share, 1.0)


def _plain(token: str) -> str:
    """`" Yes"` -> `"yes"`, also with the marks that some servers leave for a space."""
    return token.strip(" \t\r\n\u2581\u0120").lower()


def _from_text(text: str) -> tuple[float, float]:
    match = FIRST_WORD.match(text)
    if match is None:
        raise UnusableAnswerError(f"server: expected an answer that begins with yes or no, found {text[:80]!r}")
    return (TEXT_LOGIT if match[1].lower() == "yes" else -TEXT_LOGIT), math.nan
