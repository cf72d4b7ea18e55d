#!/usr/bin/env bash
# Install Unsloth and Training Hub for CPUs into an environment of its own (1.7 GB): Unsloth wants older transformers.
# On a machine with a GPU install `unsloth` by its own instructions instead, into the environment that trains.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=.venv-unsloth
marker=$environment/.installed
wanted=$(sha256sum requirements-unsloth.txt "$0" | sha256sum | cut -d' ' -f1)

if [[ -f $marker && $(cat "$marker") == "$wanted" ]]; then
  echo "Unsloth is already installed in $environment"
  exit 0
fi

python3.11 -m venv "$environment"
pip=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check)
# PyPI has no CPU build of torch for Linux: unless pip is set up to find one, it comes from PyTorch's own index.
"${pip[@]}" torch==2.13.0 2>/dev/null || "${pip[@]}" --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"${pip[@]}" transformers==5.17.0 'datasets>=4.6,<5.0.0' numpy psutil tqdm packaging pyyaml sentencepiece protobuf tyro \
  pillow regex msgspec einops requests 'huggingface_hub>=0.34' hf_transfer wheel rich pydantic 'typer>=0.19' structlog \
  nest-asyncio click
# Their declared dependencies would bring CUDA builds, which a CPU has no use for.
"${pip[@]}" --no-deps --requirement requirements-unsloth.txt
"$environment/bin/python" -c "import unsloth"
echo "$wanted" >"$marker"
echo "Unsloth is installed in $environment"
