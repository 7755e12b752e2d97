"""The commands of the documentation that its test does not run, and why.

Each of them is still looked at: its target, subcommand, options and files must exist. A command
that is no longer in the documentation must not stay here.
"""

from __future__ import annotations

CONTAINERS = "needs a container engine; tests/docker checks the files"
HOURS = "takes hours"
MINUTES = "takes minutes to hours"
SERVES = "runs until it is stopped; tests/serving and tests/triton start it"
INSTALLS = "changes an environment"
GPU = "needs a GPU"
DATA = "needs data sets that are not here"
CLUSTER = "needs several machines; tests/core/cluster starts a cluster of one"
SCORES = "scores a whole data set, in minutes; tests/core evaluates"

NOT_RUN = {
    # What the reader has.
    "git clone ADDRESS farpose": "the address is the reader's",
    "cd farpose": "the test starts in that folder",
    ".venv/bin/python clients/camera.py 0": "needs a webcam; the next command sends a clip",
    ".venv/bin/python clients/camera.py rtsp://192.0.2.7/street": "needs a network camera",
    # The repository's own checks.
    "make setup": INSTALLS,
    "make test": "runs this test",
    "make format": "rewrites the sources",
    "make docs": "writes into the clone; tests/docs/test_site.py builds the site",
    ".venv/bin/pre-commit install": "changes the clone's git hooks",
    **{
        f".venv/bin/farpose watch {cameras}": "needs cameras; tests/core/watch has some"
        for cameras in (
            "gate=rtsp://192.0.2.7/street yard=http://192.0.2.8/mjpeg 0",
            "gate=rtsp://192.0.2.7/street --mqtt mqtts://me:secret@broker/farpose/site-1 "
            "--mqtt-qos 1",
            "gate=rtsp://192.0.2.7/street --only-people --interval 5 "
            "--webhook https://example.org/people",
        )
    },
    # Servers.
    ".venv/bin/farpose triton": SERVES,
    ".venv/bin/farpose triton --model-control-mode explicit -- --load-model=lowres_pose": SERVES,
    ".venv/bin/farpose serve --engine triton-pipeline": SERVES,
    ".venv/bin/farpose serve --engine triton --triton-url 127.0.0.1:8001": SERVES,
    ".venv/bin/farpose serve --repository my_repository": SERVES,
    "docker compose --file docker/compose.cpu.yaml up --build": CONTAINERS,
    "docker compose --file docker/compose.yaml up --build": CONTAINERS,
    "docker compose --file docker/compose.yaml --profile monitoring up --build": CONTAINERS,
    "docker build --file docker/Dockerfile.api --tag farpose-api .": CONTAINERS,
    "docker run --rm --read-only --cap-drop ALL --publish 127.0.0.1:8080:8080 farpose-api": (
        CONTAINERS
    ),
    # Packages.
    "pip install 'tritonclient[grpc]' numpy opencv-python-headless": INSTALLS,
    "pip install '.[export,tensorrt]'": INSTALLS,
    "uv pip install --no-deps ultralytics ultralytics-thop py-cpuinfo": INSTALLS,
    "pip install '.[serve,ray]'": INSTALLS,
    "pip install --no-deps -r requirements/serve.txt": INSTALLS,
    "pip install '.[serve,watch]' ./clients/python": INSTALLS,
    "pip install ./clients/python": (
        "changes an environment; tests/clients/python/test_wheel.py installs it"
    ),
    "pip install './clients/python[pictures,supervision]'": INSTALLS,
    "pip install '.[serve,archive]'": INSTALLS,
    # Machines.
    "ray get-auth-token --generate": "writes into the home folder",
    "ray start --head --port 6379 --include-dashboard=false": CLUSTER,
    "ray start --address FIRST:6379": CLUSTER,
    "farpose predict /archive --output poses.jsonl --ray FIRST:6379": CLUSTER,
    "farpose predict /archive --output poses.jsonl --ray ray://FIRST:10001": CLUSTER,
    # Benchmarks.
    "farpose bench ray clip.mp4 --output docs/performance/ray.md": (
        "takes minutes; tests/core/cluster/test_ray.py measures"
    ),
    "farpose bench archive clip.mp4 --ultralytics other/bin/python": (
        "takes an hour; tests/core/archive/test_bench_archive.py measures"
    ),
    "make load": MINUTES,
    "make perf": MINUTES,
    "farpose bench serving $FARPOSE_DATA/coco_mini/val --seconds 9 --output docs/performance": (
        "starts Triton and takes minutes; tests/triton/test_bench_serving.py runs it"
    ),
    ".venv/bin/python clients/perf/run.py --url gpu-box:8001 --models pose_pipeline "
    "--concurrency 1 8 64 --output build/gpu-box": GPU,
    ".venv/bin/farpose bench export --annotations val_coco17.json --images val "
    "--calibration train_coco17.json --calibration-images train": (
        "takes minutes; tests/export/test_bench_export.py runs it"
    ),
    # Training.
    "make train-pose": HOURS,
    "farpose train training/configs/person_detector.yaml": HOURS,
    ".venv/bin/farpose train training/configs/pose_64.yaml --set output=runs/mine": (
        "takes hours; tests/training/test_command.py trains on a tiny set"
    ),
    ".venv/bin/farpose train training/configs/pose_64.yaml --set output=runs/mine "
    "--set optimizer.epochs=10": HOURS,
    ".venv/bin/farpose train training/configs/paper/mpii_256_w32_simcc_k3.yaml": DATA,
    ".venv/bin/farpose train training/configs/paper/mpii_64_w32_cdkd.yaml": DATA,
    ".venv/bin/farpose train training/configs/paper/coco_256_w48_simcc_k3.yaml": DATA,
    ".venv/bin/farpose train training/configs/paper/coco_64_w48_simcc.yaml": DATA,
    ".venv/bin/farpose train training/configs/paper/coco_64_w48_cdkd.yaml": DATA,
    ".venv/bin/farpose evaluate runs/paper/coco_64_w48_cdkd/checkpoint.safetensors "
    "--annotations $COCO/annotations/person_keypoints_val2017.json "
    "--images $COCO/images/val2017": DATA,
    # Scores.
    ".venv/bin/farpose evaluate model_repository/lowres_pose "
    "--annotations $FARPOSE_DATA/lspet/val.json --images $FARPOSE_DATA/lspet/val "
    "--reliability-plot reliability.png": SCORES,
    **{
        f"{farpose} evaluate model_repository/{model} "
        "--annotations $FARPOSE_DATA/lspet/val.json --images $FARPOSE_DATA/lspet/val "
        "--boxes truth --shrink": SCORES
        for farpose in (".venv/bin/farpose", "farpose")
        for model in ("lowres_pose", "lowres_pose_32")
    },
    "python -m farpose_training.detection.report --start $FARPOSE_DATA/detector/rtmdet_nano.onnx "
    "--model model_repository/person_detector/1/model.onnx "
    "--annotations $FARPOSE_DATA/coco_mini/val.json --images $FARPOSE_DATA/coco_mini/val "
    "--plot curve.png": SCORES,
    # Export.
    ".venv/bin/farpose export runs/mine/checkpoint.safetensors --repository my_int8 "
    "--precision int8 --annotations val.json --images val --calibration train.json "
    "--calibration-images train": "takes minutes; tests/export/test_precision.py does it",
    ".venv/bin/farpose export runs/mine/checkpoint.safetensors --repository my_int8 "
    "--precision int8 --int8-layers long --annotations val.json --images val "
    "--calibration train.json --calibration-images train": (
        "takes minutes; tests/export/test_precision.py does it"
    ),
    ".venv/bin/farpose export runs/mine/checkpoint.safetensors --repository my_fp16 "
    "--precision fp16 --annotations val.json --images val": (
        "needs many labelled people to pass; tests/export/test_precision.py does it"
    ),
    ".venv/bin/farpose export-engine my_fp16/lowres_pose --repository my_engines": GPU,
    ".venv/bin/farpose export-detector weights.pt --repository my_repository "
    "--pictures street.jpg": "needs ultralytics; tests/export/test_export_detector.py does it",
    ".venv/bin/farpose export-detector model_repository/person_detector/checkpoint.safetensors "
    "--repository my_fp16 --precision fp16 --annotations val.json --images val": (
        "needs many labelled people to pass; tests/export/test_detector_precision.py does it"
    ),
}

RUN_ONCE = {
    ".venv/bin/farpose export runs/mine/checkpoint.safetensors --repository my_repository": (
        "docs/export.md"
    ),
}
"""Commands that several pages show, and the page whose test runs them: they are slow."""

RUN_ELSEWHERE = {
    "clients/grpc/README.md": "tests/clients/test_grpc_examples.py",
    "clients/python/README.md": "tests/clients/python/test_wheel.py",
    "docs/finetune.md": "tests/training/test_finetune.py",
}
"""Pages whose commands another test takes from the page and runs."""
