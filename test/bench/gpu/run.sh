#!/bin/sh
# Runs the benchmark in this folder: ./run.sh --out DIR. PyTorch's folder has the libraries of CUDA.
cd "$(dirname "$0")" || exit 1
libraries=$(python3 -c '
import glob, importlib.util, os
torch = importlib.util.find_spec("torch")
packages = os.path.dirname(os.path.dirname(torch.origin)) if torch else ""
print(":".join(glob.glob(packages + "/nvidia/*/lib")) if torch else "")' 2>/dev/null)
LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec ./node test/bench/dist/gpu/gpu.js --model model "$@"
