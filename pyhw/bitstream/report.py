"""The report of a build: numbers as JSON, and a page that shows them."""

from dataclasses import asdict
from html import escape
from typing import Any

from .floorplan import colours, floorplan
from .flow import Outcome

__all__ = ["to_html", "to_record"]

FORMAT = "pyhw build"
VERSION = 1


def to_record(outcome: Outcome) -> dict[str, Any]:
    """Return all numbers of a build as JSON values (docs/build.md)."""
    from pyhw import __version__
    from pyhw.compiler.cycles import estimate, run_cycles
    from pyhw.host.link_bytes import link_bytes

    job, made, best = outcome.build, outcome.made, outcome.made.routed[0]
    timing = best.timing
    model, program = job.model, job.model.program
    layers = estimate(program, model.config)
    cycles = run_cycles(layers)
    sent, received = link_bytes(program, model.config)
    clock_hz = float(outcome.pll.output_hz)
    reached_hz = min(timing.reached_mhz, timing.asked_mhz) * 1e6
    by_link = job.baud / 10 * program.batch / max(sent, received)
    in_turn = cycles / clock_hz + (sent + received) * 10 / job.baud
    return {
        "format": FORMAT, "version": VERSION, "pyhw": __version__,
        "model": {"name": program.name, "graph": program.graph, "accuracy": model.accuracy},
        "board": job.board.name, "device": job.board.device_name,
        "stand_alone": job.stand_alone,
        "config": {"name": model.config.name, "hash": model.config.hash.hex(),
                   "fitted": model.fitted, "specialised": bool(model.config.ranges),
                   "lanes": {name: model.config.groups * e.rows * e.lanes
                             for name, e in model.config.engines.items()}},
        "clock": {"asked_mhz": job.clock_mhz, "set_mhz": timing.asked_mhz,
                  "reached_mhz": round(timing.reached_mhz, 3), "met": timing.met,
                  "pll": asdict(outcome.pll)},
        "path": {"nanoseconds": round(timing.path_ns, 3), "levels": timing.levels,
                 "routing_share": round(timing.routing_share, 3),
                 "explained": timing.explained(), "hops": [asdict(hop) for hop in timing.path]},
        "seeds": {str(one.seed): round(one.timing.reached_mhz, 3) for one in made.routed},
        "resources": {"used": made.netlist.used, "available": job.board.limits,
                      "placed": best.utilization, "cells": made.netlist.kinds,
                      "components": made.netlist.by_component},
        "speed": {"batch": program.batch, "cycles_per_batch": cycles,
                  "cycles_per_image": cycles / program.batch,
                  "images_per_second": program.batch * reached_hz / cycles,
                  "layers": {layer.name: layer.cycles for layer in layers}},
        "link": {"baud": job.baud, "bytes_sent_per_image": sent / program.batch,
                 "bytes_received_per_image": received / program.batch,
                 "images_per_second": by_link,
                 "images_per_second_in_turn": program.batch / in_turn},
        "stages": [{"name": "generate", "seconds": round(outcome.generate_s, 2), "kept": False,
                    "tool": "amaranth"}]
        + [{"name": done.name, "seconds": round(done.seconds, 2), "kept": done.cached,
            "tool": f"{done.tool} {done.version}"} for done in outcome.made.stages],
    }


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p.sub { color: #667; margin-top: .2rem } table { border-collapse: collapse; margin: .5rem 0 }
td, th { padding: .15rem .9rem .15rem 0; text-align: right; border-bottom: 1px solid #e3e5e8;
  font-variant-numeric: tabular-nums }
td:first-child, th:first-child, td.l, th.l { text-align: left }
th { font-weight: 600; color: #556 } code { font-size: .85em; word-break: break-all }
.ok { color: #18794e; font-weight: 600 } .bad { color: #c62a2f; font-weight: 600 }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .4em }
svg { width: 100%; background: #f4f5f7; border: 1px solid #e3e5e8 }
"""


def to_html(outcome: Outcome, record: dict[str, Any]) -> str:
    """Return the page; nothing in it is loaded from elsewhere."""
    clock, link, speed = record["clock"], record["link"], record["speed"]
    model = record["model"]
    state = ('<span class="ok">met</span>' if clock["met"] else
             '<span class="bad">not met: no bitstream</span>')
    told = model["accuracy"]
    accuracy = (f"{told.get('integer', '?')} % of {told.get('images', '?')} images of "
                f"{told.get('data', '?')}" if told else "not told by the file")
    lanes = ", ".join(f"{number:,} {name}" for name, number in record["config"]["lanes"].items())
    facts = [
        ("clock", f"{clock['reached_mhz']:.2f} MHz reached, {clock['set_mhz']:.2f} MHz set "
                  f"({clock['asked_mhz']:g} asked for): {state}"),
        ("lanes", lanes),
        ("programs it runs", "this model's alone (specialised)"
         if record["config"]["specialised"] else "any that its memories hold"),
        ("program", "of its own" if record["stand_alone"] else "loaded by the host"),
        ("accuracy of the integers", escape(accuracy)),
        ("cycles an image", f"{speed['cycles_per_image']:,.0f} (batches of {speed['batch']})"),
        ("images a second, accelerator alone", f"{speed['images_per_second']:,.1f}"),
        (f"images a second, line of {link['baud']:,} baud alone",
         f"{link['images_per_second']:,.1f} ({link['bytes_sent_per_image']:,.0f} bytes to the "
         f"board, {link['bytes_received_per_image']:,.0f} back)"),
        ("images a second, one after the other", f"{link['images_per_second_in_turn']:,.1f}"),
    ]
    chosen = colours(outcome.made.placement)
    places = tuple(dict.fromkeys(hop.place for hop in outcome.made.routed[0].timing.path))
    return "\n".join([
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(model['name'])} on {escape(record['board'])}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(model['name'])} on {escape(outcome.build.board.title)}</h1>",
        f'<p class="sub">configuration {escape(record["config"]["name"])} '
        f'({record["config"]["hash"]}), pyhw {record["pyhw"]}</p>',
        _table(("", "", "l"), facts),
        "<h2>Worst path</h2>", f"<p>{escape(record['path']['explained'])}</p>",
        _table(("kind", "component", "signal", "ns", "place"), [
            (hop["kind"], escape(hop["component"]), f"<code>{escape(hop['signal'])}</code>",
             f"{hop['delay_ns']:.2f}", "{}, {}".format(*hop["place"]))
            for hop in record["path"]["hops"]], left=(0, 1, 2)),
        "<h2>Resources</h2>", _resources(record, chosen),
        "<h2>Floorplan</h2>",
        f"<p>{_legend(chosen)}. The line is the worst path.</p>",
        floorplan(outcome.made.placement, places),
        "<h2>Seeds</h2>",
        _table(("seed", "MHz"), [(seed, f"{mhz:.2f}") for seed, mhz in record["seeds"].items()]),
        "<h2>Stages</h2>",
        _table(("stage", "seconds", "", "tool"), [
            (escape(one["name"]), f"{one['seconds']:,.1f}", "kept" if one["kept"] else "",
             escape(one["tool"])) for one in record["stages"]], left=(0, 2, 3)),
        "</body></html>", ""])


def _resources(record: dict[str, Any], chosen: dict[str, str]) -> str:
    resources = record["resources"]
    kinds = [kind for kind, number in resources["available"].items()
             if number and (kind != "single-port RAMs" or resources["used"].get(kind))]
    counted = {kind for used in resources["components"].values() for kind in used}
    rows = [("all", *(f"{resources['used'].get(kind, 0):,} of {resources['available'][kind]:,} "
                      f"({resources['used'].get(kind, 0) / resources['available'][kind]:.0%})"
                      for kind in kinds))]
    rows += [(f'<span class="key" style="background:{chosen.get(name, "#fff")}"></span>'
              f"{escape(name)}", *(f"{used.get(kind, 0):,}" if kind in counted else ""
                                   for kind in kinds))
             for name, used in sorted(resources["components"].items(),
                                      key=lambda item: -item[1].get("LUT4", 0))]
    return _table(("component", *kinds), rows)


def _legend(chosen: dict[str, str]) -> str:
    return " ".join(f'<span class="key" style="background:{colour}"></span>{escape(name)}'
                    for name, colour in chosen.items())


def _table(head: tuple[str, ...], rows: Any, left: tuple[int, ...] = ()) -> str:
    marks = ['class="l"' if column in left or "l" in head[2:3] else "" for column in range(9)]
    lines = ["<table>"]
    if any(head[:2]):
        lines.append("<tr>" + "".join(f"<th {marks[n]}>{name}</th>"
                                      for n, name in enumerate(head)) + "</tr>")
    lines += ["<tr>" + "".join(f"<td {marks[n]}>{cell}</td>" for n, cell in enumerate(row))
              + "</tr>" for row in rows]
    return "".join([*lines, "</table>"])
