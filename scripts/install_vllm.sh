#!/usr/bin/env bash
# Install vLLM for CPUs into an environment of its own (3.5 GB): it pins other versions than training does.
# Running it again does nothing once the pinned version is there.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=.venv-vllm
marker=$environment/.installed
wanted=$(sha256sum requirements-vllm.txt | cut -d' ' -f1)
torch=$(grep '^torch==' requirements-vllm.txt)

if [[ -f $marker && $(cat "$marker") == "$wanted" ]]; then
  echo "vLLM is already installed in $environment"
  exit 0
fi

python3.11 -m venv "$environment"
pip=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check)
# PyPI has no CPU build of torch for Linux: unless pip is set up to find one, it comes from PyTorch's own index.
"${pip[@]}" "$torch" 2>/dev/null || "${pip[@]}" --index-url https://download.pytorch.org/whl/cpu "$torch"
"${pip[@]}" --requirement requirements-vllm.txt
# These do not load beside a CPU torch, and their mere presence breaks transformers.
"$environment/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
"$environment/bin/python" -c "import vllm"
echo "$wanted" >"$marker"
echo "vLLM is installed in $environment"
