#!/bin/sh
# Make the bundled model and the example scenes, from rendering to figures.
#
#   training/run.sh PYTHON [PHOTOGRAPHS [TEACHER [START]]]
#
# PYTHON is the interpreter of the training's environment, PHOTOGRAPHS the folder that
# training/photographs.py describes, without which the training uses scenes alone; TEACHER a .param
# file of NanoDet-Plus (training/teacher.py). START is a checkpoint to begin from in place of the
# stage on scenes. From the environment: MINUTES, how long each stage trains; DEVICE, cpu or cuda;
# JOBS, how many cores there are. All that is rendered and trained lies in training/data afterwards.
set -eu
cd "$(dirname "$0")/.."
python=$1
photographs=${2:-}
teacher=${3:-}
start=${4:-}
device=${DEVICE:-cpu}
jobs=${JOBS:-2}
data=training/data

if [ "$device" = cpu ]; then
    how="--device cpu --processes $jobs --batch-size 24"
    sizes="192 224 256 256"
    small="192 192 224 256"
    rate=2e-3
    set -- ${MINUTES:-70 60 20 10}
else
    how="--device $device --planners $jobs --batch-size 128 --weight-decay 0.05"
    sizes=320
    small=256
    rate=3e-3
    set -- ${MINUTES:-5 10 5 3}
fi

"$python" -m training.check
test -f $data/train/boxes.json || "$python" -m training.render train 6500 $data/train --jobs "$jobs"
test -f $data/valid/boxes.json || "$python" -m training.render valid 60 $data/valid --jobs "$jobs"
test -f $data/test/boxes.json || "$python" -m training.render test 500 $data/test --jobs "$jobs"
test -f $data/crowded/boxes.json ||
    "$python" -m training.render crowded 300 $data/crowded --jobs "$jobs"
test -f $data/sprites/boxes.json || "$python" -m training.sprites $data/sprites --drawn 2000 \
    ${photographs:+--photographs "$photographs"} --jobs "$jobs"

# 1. Scenes alone: what a phone looks like at all.
mix="--scenes $data/train --valid $data/valid --sprites $data/sprites"
if [ -z "$start" ]; then
    start=$data/scenes.pt
    "$python" -m training.train $start $mix $how --sizes $sizes --minutes "$1" \
        --rates $rate 1e-3 --calm 0 --seed 1
fi

# 2. Photographs and scenes; with a teacher, what it sees counts most, in small pictures.
if [ -n "$photographs" ]; then
    test -f $data/photographed/boxes.json || "$python" -m training.render photographed 3000 \
        $data/photographed --photographs "$photographs" --jobs "$jobs"
    mix="--scenes $data/photographed $data/train --valid $data/valid --sprites $data/sprites"
fi
learn() { # OUTPUT START MINUTES and more
    output=$1 from=$2 minutes=$3
    shift 3
    "$python" -m training.train "$output" $mix $how --start "$from" --minutes "$minutes" \
        --frozen 2 --muon 4 ${photographs:+--photographs "$photographs"} "$@"
}
learn $data/taught.pt "$start" "$2" --sizes $small --rates 3e-3 5e-4 --calm 0 --seed 2 \
    --shares 0.12 0.44 0.44 ${teacher:+--teacher "$teacher" --teacher-weight 5}

# 3. As large as it will run, the rate coming down; the last part without mosaics.
learn $data/large.pt $data/taught.pt "$3" --sizes 256 320 --rates 6e-4 1e-5 --calm 0.4 --seed 3 \
    --shares 0.15 0.45 0.4 ${teacher:+--teacher "$teacher" --teacher-weight 3}

# 4. More scenes, with what looks like a phone, and no teacher, who takes some of it for one.
learn $data/final.pt $data/large.pt "$4" --sizes 256 320 --rates 4e-4 1e-5 --calm 0.6 --seed 4 \
    --shares 0.45 0.3 0.25 --mosaics 0.2

"$python" -m training.export $data/final.pt models/damoyolo_ns_phone.onnx --score-threshold 0.55 \
    --images $data/test/0000*.jpg
"$python" -m training.evaluate models/damoyolo_ns_phone.onnx --scenes $data/test $data/crowded \
    ${photographs:+--photographs "$photographs" --sheets $data/sheets}
"$python" -m training.examples examples
