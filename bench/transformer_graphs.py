"""Random transformers: executor, exported torch program and ONNX Runtime, value for value.

``python -m bench.transformer_graphs --count 300 --log transformer_graphs.jsonl`` draws graphs of
`pyhw.graph.random_transformer` and compares every value of the torch module and of ONNX Runtime
with the executor's, and in every tenth graph (``--export-every``) the output of the program that
`torch.export` makes of the module, which takes longer than all else together. One JSON line per
graph goes to the log; a log that is there is gone on with. The exit status is 1 if any value
differs anywhere.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from pyhw.graph.execute import run_layers
from pyhw.graph.file import from_bytes, to_bytes
from pyhw.graph.ops import Graph
from pyhw.graph.random_transformer import random_transformer

__all__ = ["compare", "main"]


def compare(graph: Graph, images: np.ndarray, export: bool) -> dict[str, int]:
    """Return how many values of each form differ from the executor's, and how many there are."""
    import onnxruntime
    import torch

    from pyhw.graph.onnx_export import onnx_model
    from pyhw.graph.torch_export import IntegerModule

    expected = run_layers(graph, images)
    module, tensor = IntegerModule(graph).eval(), torch.from_numpy(images.astype(np.int64))
    layers = module.layers(tensor)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx_model(graph, layers=True).SerializeToString()
    session = onnxruntime.InferenceSession(model, options)
    dtype = np.int8 if graph.input.fmt.signed else np.uint8
    found = session.run(None, {graph.input.name: images.astype(dtype)})
    by_onnx = {output.name: value for output, value in zip(session.get_outputs(), found)}
    wrong = 0
    if export:
        program = torch.export.export(module, (tensor,)).module()
        wrong = int((program(tensor).numpy() != expected[graph.output]).sum())
    return {
        "exports": int(export),
        "values": sum(value.size for value in expected.values()),
        "torch": sum(int((layers[n].numpy() != v).sum()) for n, v in expected.items()),
        "export": wrong,
        "onnx": sum(int((value != expected[n]).sum()) for n, value in by_onnx.items()),
        "file": int(from_bytes(to_bytes(graph)) != graph),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=300, help="graphs")
    parser.add_argument("--seed", type=int, default=0, help="of the first graph")
    parser.add_argument("--export-every", type=int, default=10, help="graphs; 0: none is exported")
    parser.add_argument("--log", type=Path, default=Path("transformer_graphs.jsonl"))
    options = parser.parse_args(arguments)
    rows: dict[int, dict[str, Any]] = {}
    if options.log.exists():
        lines = map(json.loads, options.log.read_text(encoding="utf-8").splitlines())
        rows = {line["seed"]: line for line in lines}
    with open(options.log, "a", encoding="utf-8") as log:
        for seed in range(options.seed, options.seed + options.count):
            if seed not in rows:
                start = time.monotonic()
                graph, images = random_transformer(seed)
                export = options.export_every > 0 and seed % options.export_every == 0
                rows[seed] = {"seed": seed, "ops": len(graph.ops),
                              **compare(graph, images, export)}  # fmt: skip
                rows[seed]["seconds"] = round(time.monotonic() - start, 1)
                print(json.dumps(rows[seed]), file=log, flush=True)
    wrongs = ("torch", "export", "onnx", "file")
    total = {key: sum(row[key] for row in rows.values())
             for key in ("ops", "values", "exports", *wrongs)}  # fmt: skip
    wrong = sum(total[key] for key in wrongs)
    print(f"{len(rows)} graphs ({total['exports']} exported), {total['ops']:,} operations, "
          f"{total['values']:,} values: {wrong} differences")  # fmt: skip
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
