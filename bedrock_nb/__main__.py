"""``python -m bedrock_nb``: the same as the command ``bedrock-nb``."""

from __future__ import annotations

import sys

from bedrock_nb.cli import main

sys.exit(main())
