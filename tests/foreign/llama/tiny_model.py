"""A model for llama.cpp that nobody has to download: the llama architecture, 0.5 MB of random weights.

Strategy: a tokenizer of single characters (and of bytes, for all others), two layers, and one trick. The
first member of each hidden vector is the same for all tokens and no layer writes to it, so the first column
of the output matrix is a bias: letters and spaces are likely, other signs rare, bytes never of their own
accord. What comes out is nonsense in valid UTF-8, the same from the same seed, that now and then ends by
itself.

It needs ``gguf`` and ``numpy``, and nothing of the project.
"""

from __future__ import annotations

import string
import sys
from pathlib import Path

import gguf  # type: ignore[import-not-found]
import numpy as np

__all__ = ["CONTEXT", "make"]

#: Tokens that prompt and answer may have together.
CONTEXT = 32_768
_WIDTH, _HEADS, _LAYERS, _HIDDEN = 64, 4, 2, 128
_SEED = 20_260_101

_UNKNOWN, _BEGIN, _END = 0, 1, 2
_SPACE = "\u2581"  # how such a vocabulary writes a space
_SPECIAL = ("<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
#: Around a tool call: tokens 7 and 8. They hardly come unless a request's ``logit_bias`` makes them likely.
_CALL = ("<tool_call>", "</tool_call>")
_CHARACTERS = _SPACE + string.ascii_letters + string.digits + string.punctuation

#: What each kind of token has in the output matrix's first column; the hidden vector has about 4 there.
_LIKELY, _RARE, _ENDING, _NEVER = 0.0, -1.5, -1.5, -8.0
_CONSTANT = 4.0

_TEMPLATE = (
    "{% if tools %}<|system|>Tools: {% for tool in tools %}{{ tool | tojson }} {% endfor %}</s>{% endif %}"
    "{% for message in messages %}"
    "{% if message.role == 'assistant' and message.tool_calls %}"
    "<|assistant|>{% for call in message.tool_calls %}"
    '<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "</tool_call>{% endfor %}</s>"
    "{% else %}<|{{ message.role }}|>{{ message.content }}</s>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make(path: Path) -> None:
    """Write the model.

    Parameters
    ----------
    path : Path
        The file, ending in ``.gguf``.
    """
    writer = gguf.GGUFWriter(path, "llama")
    biases = _vocabulary(writer)
    _sizes(writer, len(biases))
    _weights(writer, np.array(biases, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary(writer: gguf.GGUFWriter) -> list[float]:
    """The tokenizer; returns how likely each token is meant to be."""
    kind = gguf.TokenType
    rows = [(name, kind.CONTROL, _NEVER) for name in _SPECIAL]
    rows[_UNKNOWN] = (_SPECIAL[_UNKNOWN], kind.UNKNOWN, _NEVER)
    rows[_END] = (_SPECIAL[_END], kind.CONTROL, _ENDING)
    rows += [(name, kind.USER_DEFINED, _NEVER) for name in _CALL]
    rows += [(f"<0x{byte:02X}>", kind.BYTE, _NEVER) for byte in range(256)]
    for sign in _CHARACTERS:
        rows.append((sign, kind.NORMAL, _LIKELY if sign == _SPACE or sign.islower() else _RARE))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _, _ in rows])
    writer.add_token_scores([0.0] * len(rows))
    writer.add_token_types([int(type_) for _, type_, _ in rows])
    writer.add_unk_token_id(_UNKNOWN)
    writer.add_bos_token_id(_BEGIN)
    writer.add_eos_token_id(_END)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(_TEMPLATE)
    return [bias for _, _, bias in rows]


def _sizes(writer: gguf.GGUFWriter, tokens: int) -> None:
    writer.add_name("tiny")
    writer.add_vocab_size(tokens)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _weights(writer: gguf.GGUFWriter, biases: np.ndarray) -> None:
    rng = np.random.default_rng(_SEED)

    def matrix(rows: int, columns: int, size: float) -> np.ndarray:
        return rng.normal(0.0, size, (rows, columns)).astype(np.float32)

    def add(name: str, values: np.ndarray) -> None:
        writer.add_tensor(f"{name}.weight", values)

    embedding = matrix(len(biases), _WIDTH, 1.0)
    embedding[:, 0] = _CONSTANT
    output = matrix(len(biases), _WIDTH, 0.25)
    output[:, 0] = biases
    ones = np.ones(_WIDTH, np.float32)
    add("token_embd", embedding)
    for i in range(_LAYERS):
        add(f"blk.{i}.attn_norm", ones)
        for name in ("attn_q", "attn_k", "attn_v"):
            add(f"blk.{i}.{name}", matrix(_WIDTH, _WIDTH, 0.2))
        add(f"blk.{i}.ffn_norm", ones)
        add(f"blk.{i}.ffn_gate", matrix(_HIDDEN, _WIDTH, 0.2))
        add(f"blk.{i}.ffn_up", matrix(_HIDDEN, _WIDTH, 0.2))
        for name, columns in (("attn_output", _WIDTH), ("ffn_down", _HIDDEN)):
            values = matrix(_WIDTH, columns, 0.1)
            values[0] = 0.0  # nobody writes to the constant
            add(f"blk.{i}.{name}", values)
    add("output_norm", ones)
    add("output", output)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
