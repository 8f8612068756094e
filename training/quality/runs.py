"""Runs the jobs that have no row yet, one process a job."""

import multiprocessing
import multiprocessing.pool
import signal
from collections.abc import Callable
from pathlib import Path

import torch

from quality.factored import FIRST, SAMPLES, grid_jobs, measure_factored
from quality.frontier import measure_frontier
from quality.kept import measure_kept
from quality.knobs import KNOBS, measure_knob
from quality.measure import run_job
from quality.protocol import (
    DATASETS,
    FAMILIES,
    GRID,
    WITHOUT_HISTORY,
    Job,
    arms_of,
    compression,
    jobs_named,
    named_jobs,
    read_dataset,
)
from quality.results import read_rows, write_rows
from quality.structure import structure
from quality.times import measure_times, timed_jobs
from quality.unknown_items import measure_unknown_items


def worker_pool(workers: int) -> multiprocessing.pool.Pool:
    """Returns a worker pool with a new process for each job. Ctrl-C reaches all processes; only this one handles it."""
    ignore = (signal.SIGINT, signal.SIG_IGN)
    return multiprocessing.get_context("spawn").Pool(workers, signal.signal, ignore, maxtasksperchild=1)


def run(data: Path, only: list[str], workers: int, variants: list[str]) -> None:
    """Runs every variant without a row, of all jobs; or every variant of the named jobs."""
    done = {(r["dataset"], r["family"], r["seed"], r["variant"]) for r in read_rows()}
    work = []
    for job in jobs_named(only, [WITHOUT_HISTORY, *FAMILIES]):
        wanted = ["no_history"] if job.family == WITHOUT_HISTORY else variants
        missing = [v for v in wanted if only or (job.dataset, job.family, job.seed, v) not in done]
        if missing:
            work.append((job, missing))
    print(f"{len(work)} jobs: {' '.join(str(job) for job, _ in work)}", flush=True)
    with worker_pool(workers) as pool:
        for result in [
            pool.apply_async(run_job, (job, data, compression(job.family), missing)) for job, missing in work
        ]:
            rows = result.get()
            new = {(r["dataset"], r["family"], r["seed"], r["variant"]) for r in rows}
            kept = [r for r in read_rows() if (r["dataset"], r["family"], r["seed"], r["variant"]) not in new]
            write_rows([*kept, *rows])


def knobs(data: Path, only: list[str], workers: int) -> None:
    """Measures every knob without a row, for the named jobs or for SIM on ML-1M. Needs their full models."""
    done = {(r["dataset"], r["family"], r["seed"], r["knob"], r["value"]) for r in read_rows("knobs")}
    jobs = jobs_named(only or ["ml-1m/sim/1"], FAMILIES)
    wanted = [(job, knob, value) for job in jobs for knob, values in KNOBS.items() for value in values]
    wanted = [(j, k, v) for j, k, v in wanted if (j.dataset, j.family, j.seed, k, v) not in done]
    with worker_pool(workers) as pool:
        for result in [pool.apply_async(measure_knob, (job, data, knob, value)) for job, knob, value in wanted]:
            write_rows([*read_rows("knobs"), *result.get()], "knobs")


def structures(data: Path, only: list[str], workers: int) -> None:
    """Measures keys, values and slots of finished jobs: the named ones, or all jobs with seed 1."""
    torch.set_num_threads(workers)
    found = {f"{r['dataset']}/{r['family']}/{r['seed']}": r for r in read_rows("structure")}
    for job in jobs_named(only or [f"{d}/{f}/1" for d in DATASETS for f in FAMILIES], FAMILIES):
        log, split = read_dataset(job.dataset, data)
        found[str(job)] = structure(job, arms_of(job, log, split, compression(job.family)))
        write_rows(list(found.values()), "structure")


def factored(data: Path, only: list[str], workers: int, device: str) -> None:
    """Measures the records of the jobs that have no rows yet, or of the named jobs."""
    measure_jobs("factored", measure_factored, grid_jobs(), data, only, workers, device)


def frontier(data: Path, only: list[str], workers: int, device: str) -> None:
    """The same for bytes against quality, with one family and seed."""
    measure_jobs("frontier", measure_frontier, first_jobs(), data, only, workers, device)


def unknown_items(data: Path, only: list[str], workers: int) -> None:
    """The same for positions of unknown items, with one family and seed."""
    measure_jobs("unknown", measure_unknown_items, first_jobs(), data, only, workers)


def kept(data: Path, only: list[str], workers: int) -> None:
    """The same for kept encodings, with one family and seed."""
    measure_jobs("kept", measure_kept, first_jobs(), data, only, workers)


def times(data: Path, only: list[str], workers: int) -> None:
    """The same for the seconds of trainings and conversions, with one seed."""
    measure_jobs("times", measure_times, timed_jobs(), data, only, workers)


def first_jobs() -> list[Job]:
    """Returns the jobs of one family and seed, without the small samples."""
    return [Job(dataset, FIRST, 1) for dataset in GRID if dataset not in SAMPLES]


def measure_jobs(
    name: str, measure: Callable, jobs: list[Job], data: Path, only: list[str], workers: int, *options: str
) -> None:
    """Measures the named jobs, or those without rows, in their order. Writes their rows to the results of that name."""
    done = {job_of(row) for row in read_rows(name)}
    wanted = [job for job in named_jobs(only, jobs) if only or job not in done]
    with worker_pool(workers) as pool:
        for job, result in [(job, pool.apply_async(measure, (job, data, *options))) for job in wanted]:
            rows = result.get()
            write_rows([*(row for row in read_rows(name) if job_of(row) != job), *rows], name)


def job_of(row: dict) -> Job:
    return Job(row["dataset"], row.get("family", FIRST), row["seed"])
