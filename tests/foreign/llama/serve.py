"""llama.cpp's OpenAI-compatible server on a tiny random model, for as long as standard input is open.

Strategy: the model is made in a folder of its own, the server takes a free loopback port, and one line of
JSON with its URL says that it is ready. Whoever started it closes our standard input, or dies: then it ends.
llama.cpp's log goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import xllamacpp  # type: ignore[import-not-found]
from tiny_model import CONTEXT, make  # type: ignore[import-not-found]

_SLOTS = 2  # answers at once


def main() -> None:
    """Serve until standard input is closed."""
    with tempfile.TemporaryDirectory(prefix="tiny-llama-") as folder:
        path = Path(folder, "tiny.gguf")
        make(path)
        server = xllamacpp.Server(_parameters(path))
        print(json.dumps({"url": f"{server.listening_address}/v1"}), flush=True)
        sys.stdin.buffer.read()
    os._exit(0)  # at once: the server's own threads may be in the middle of an answer


def _parameters(path: Path) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = CONTEXT * _SLOTS
    params.n_parallel = _SLOTS
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.fit_params = False
    params.ui = False
    params.cache_ram_mib = 16
    params.use_jinja = True
    params.endpoint_slots = True
    return params


if __name__ == "__main__":
    main()
