"""The tokenizer of a model folder: byte-level BPE, the chat template, and the special tokens' texts and ids."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import BPE

from .config import DreamConfig
from .failures import invalid

Message = Mapping[str, str]

DEFAULT_CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML with Dream's default system prompt, for a folder that brings no template."""

_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Tokenizer:
    """Text to ids and back. Text of a special token becomes that token: `special_text` finds such text first."""

    def __init__(self, fast: FastTokenizer, config: DreamConfig, chat_template: str | None = None) -> None:
        self._fast = fast
        self.mask_token, self.pad_token, self.eos_token = (
            self._text_of(config, field) for field in ("mask_token_id", "pad_token_id", "eos_token_id")
        )
        self.special_tokens: dict[str, int] = {
            token.content: id for id, token in fast.get_added_tokens_decoder().items() if token.special
        }
        names = sorted({*self.special_tokens, self.mask_token, self.pad_token, self.eos_token}, key=len, reverse=True)
        self._special = re.compile("|".join(re.escape(name) for name in names))
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
        environment.globals["raise_exception"] = _raise_template_error
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self._template = environment.from_string(chat_template or DEFAULT_CHAT_TEMPLATE)

    @staticmethod
    def load(folder: Path, config: DreamConfig) -> Tokenizer:
        """From `tokenizer.json`, or from `vocab.json` and `merges.txt`. Code in the folder is never run."""
        settings = _read_json(folder / "tokenizer_config.json") or {}
        if (folder / "tokenizer.json").is_file():
            try:
                fast = FastTokenizer.from_file(str(folder / "tokenizer.json"))
            except Exception as error:  # `tokenizers` raises bare Exceptions.
                raise invalid(
                    str(folder / "tokenizer.json"), str(error), "a file of the tokenizers library", "download it again"
                ) from error
        elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            fast = _from_vocabulary(folder, settings)
        else:
            raise invalid(
                f"model folder {folder}",
                "no tokenizer",
                "tokenizer.json, or vocab.json and merges.txt",
                "download them",
            )
        return Tokenizer(fast, config, _chat_template(folder, settings))

    def encode(self, text: str) -> list[int]:
        return self._fast.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return self._fast.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def token_id(self, text: str) -> int | None:
        return self._fast.token_to_id(text)

    def special_text(self, text: str) -> str | None:
        """The first special token that stands literally in `text`, or None."""
        found = self._special.search(text)
        return found.group() if found else None

    def apply_chat_template(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=add_generation_prompt,
                eos_token=self.eos_token,
                pad_token=self.pad_token,
                mask_token=self.mask_token,
                tools=None,
            )
        except TemplateError as error:
            roles = ", ".join(str(message.get("role")) for message in messages)
            raise invalid(
                "chat template", f"{error} for the roles {roles}", "messages that it can render", "change the messages"
            ) from error

    def _text_of(self, config: DreamConfig, field: str) -> str:
        id = getattr(config, field)
        text = self._fast.id_to_token(id)
        if text is None:
            raise invalid(
                f"tokenizer, {field}",
                f"no token with id {id} among {self._fast.get_vocab_size()}",
                f"the token that config.json names as {field}",
                "use tokenizer and config.json of one model",
            )
        return text


def _raise_template_error(message: str) -> None:
    raise TemplateError(message)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    template = (_read_json(folder / "chat_template.json") or settings).get("chat_template")
    if isinstance(template, list):  # Several named templates.
        return next((entry["template"] for entry in template if entry["name"] == "default"), None)
    return template


def _from_vocabulary(folder: Path, settings: Mapping[str, Any]) -> FastTokenizer:
    """Qwen2's fast tokenizer, as Dream's repository ships only vocabulary, merges and Python code."""
    fast = FastTokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    decoder: dict[str, Any] = settings.get("added_tokens_decoder") or {
        str(id): {"content": text, "special": True}
        for text, id in (_read_json(folder / "added_tokens.json") or {}).items()
    }
    for id, entry in sorted(decoder.items(), key=lambda item: int(item[0])):
        options = {key: entry[key] for key in ("lstrip", "rstrip", "single_word", "normalized") if key in entry}
        fast.add_tokens([AddedToken(entry["content"], special=entry.get("special", False), **options)])
        if fast.token_to_id(entry["content"]) != int(id):
            raise invalid(
                f"{folder}, added token {entry['content']}",
                f"id {fast.token_to_id(entry['content'])} after vocab.json",
                f"id {id} by tokenizer_config.json",
                "use vocab.json and tokenizer_config.json of one model",
            )
    return fast
