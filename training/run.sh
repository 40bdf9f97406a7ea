#!/bin/sh
# Make the bundled model and the example scenes, from rendering to figures.
#
#   training/run.sh PYTHON [PHOTOGRAPHS [START]]
#
# PYTHON is the interpreter of the training's environment, PHOTOGRAPHS the folder that
# training/photographs.py describes, without which the training uses scenes alone. START is a
# checkpoint to begin from in place of the hour on scenes. MINUTES (default 70, 120 and 40) are how
# long each stage trains. All that is rendered and trained lies in training/data afterwards.
set -eu
cd "$(dirname "$0")/.."
python=$1
photographs=${2:-}
start=${3:-}
set -- ${MINUTES:-70 120 40}
data=training/data

test -f $data/train/boxes.json || "$python" -m training.render train 6500 $data/train
test -f $data/valid/boxes.json || "$python" -m training.render valid 60 $data/valid
test -f $data/test/boxes.json || "$python" -m training.render test 500 $data/test
test -f $data/crowded/boxes.json || "$python" -m training.render crowded 300 $data/crowded

# 1. Scenes alone: what a phone looks like at all.
if [ -z "$start" ]; then
    start=$data/scenes.pt
    "$python" -m training.train $start --scenes $data/train --valid $data/valid --compile \
        --sizes 256 --minutes "$1" --rates 2e-3 1e-3 --seed 1
fi

mix="--scenes $data/train --valid $data/valid"
if [ -n "$photographs" ]; then
    test -f $data/photographed/boxes.json || "$python" -m training.render photographed 1500 \
        $data/photographed --photographs "$photographs"
    "$python" -m training.cutouts "$photographs" $data/cutouts
    mix="--scenes $data/photographed $data/train --valid $data/valid \
        --photographs $photographs --cutouts $data/cutouts"
fi

# 2. Photographs and scenes, small and quick. 3. Calm ones at a larger size, the rate coming down.
"$python" -m training.train $data/mixed.pt $mix --start "$start" --frozen 3 --sizes 192 \
    --minutes "$2" --rates 1e-3 6e-4 --seed 2
"$python" -m training.train $data/final.pt $mix --resume $data/mixed.pt --frozen 3 --sizes 192 224 256 256 \
    --mosaics 0 --minutes "$3" --rates 6e-4 1e-5 --seed 3

"$python" -m training.export $data/final.pt models/damoyolo_ns_phone.onnx \
    --images $data/test/0000*.jpg
"$python" -m training.evaluate models/damoyolo_ns_phone.onnx --scenes $data/test $data/crowded \
    ${photographs:+--photographs "$photographs" --sheets $data/sheets}
"$python" -m training.examples examples
