#!/bin/sh
# Make the bundled model and the example scenes, from rendering to figures.
#
#   training/run.sh PYTHON [NECEM]
#
# PYTHON is the interpreter of the training's environment (training/README.md); NECEM the folder
# with the necem photographs, without which the training uses scenes alone. About three hours on
# two idle cores.
set -eu
cd "$(dirname "$0")/.."
python=$1
necem=${2:+--necem $2}
data=training/data

"$python" -m training.render train 6500 $data/train
"$python" -m training.render valid 150 $data/valid
"$python" -m training.render test 500 $data/test
"$python" -m training.render crowded 300 $data/crowded

stage="--scenes $data/train --valid $data/valid $necem --size 256 --compile"
"$python" -m training.train $data/first.pt $stage --minutes 70 --rates 2e-3 1.5e-3 --seed 1
"$python" -m training.train $data/final.pt $stage --minutes 70 --rates 1.5e-3 1e-5 --seed 2 \
    --start $data/first.pt

"$python" -m training.export $data/final.pt models/damoyolo_ns_phone.onnx --size 320 320 \
    --score-threshold 0.4 --images $data/test/0000*.jpg
"$python" -m training.evaluate models/damoyolo_ns_phone.onnx \
    --scenes $data/test $data/crowded $data/valid $necem
"$python" -m training.examples examples
