"""Measures the processor seconds of training a full model and of its conversion to the recommended record."""

from dataclasses import replace
from pathlib import Path

import torch

from quality.factored import SAMPLES, grid_jobs, recommended_clusters
from quality.protocol import Job, arms_of, compression, read_dataset


def timed_jobs() -> list[Job]:
    """Returns the jobs of one seed, without the small samples."""
    return [job for job in grid_jobs() if job.seed == 1 and job.dataset not in SAMPLES]


def measure_times(job: Job, data: Path) -> list[dict]:
    """Returns one row. Training and conversion have one thread, and checkpoints of their own."""
    torch.set_num_threads(1)
    log, split = read_dataset(job.dataset, data)
    arms = arms_of(job, log, split, compression(job.family), folder=f"times/{job}")
    full = arms.full()
    converted = replace(arms, clusters=recommended_clusters(job.family)).converted(full)
    seconds = {"trainSeconds": round(full.seconds, 4), "conversionSeconds": round(converted.seconds, 4)}
    print(f"{job}: {seconds}", flush=True)
    return [{"dataset": job.dataset, "family": job.family, "seed": job.seed, **seconds}]
