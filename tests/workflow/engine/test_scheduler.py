"""What is read from Slurm's word about a job, recorded from version 22.05."""

import pytest

from workflow.engine.scheduler import SlurmJob, read_slurm_job, this_slurm_job

TIMED_OUT = (
    "JobId=1 JobName=b.sh UserId=root(0) GroupId=root(0) MCS_label=N/A"
    " Priority=4294901759 Nice=0 Account=(null) QOS=(null) JobState=COMPLETING"
    " Reason=TimeLimit Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0"
    " ExitCode=0:15 RunTime=00:01:28 TimeLimit=00:01:00 TimeMin=N/A"
    " SubmitTime=1795394166 EligibleTime=1795394166 AccrueTime=1795394166"
    " StartTime=1795394168 EndTime=1795394256 Deadline=N/A SuspendTime=None"
)
RUNNING = TIMED_OUT.replace("TimeLimit Dep", "None Dep").replace(
    "COMPLETING", "RUNNING"
)


def test_a_job_whose_time_ran_out_is_told_from_one_that_was_cancelled() -> None:
    job = read_slurm_job(TIMED_OUT)
    assert job == SlurmJob("TimeLimit", 0, 1795394168.0, 1795394256.0)
    assert job.is_out_of_time
    cancelled = read_slurm_job(RUNNING)
    assert cancelled is not None and not cancelled.is_out_of_time


@pytest.mark.parametrize(
    "said", ["", "slurm_load_jobs error: Invalid job id", "JobId=1 EndTime=Unknown"]
)
def test_an_answer_that_lacks_something_is_none(said: str) -> None:
    assert read_slurm_job(said) is None


def test_a_job_without_a_limit_has_no_end() -> None:
    said = RUNNING.replace("EndTime=1795394256", "EndTime=Unknown")
    assert read_slurm_job(said) is None


def test_outside_of_slurm_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("PATH", "")
    assert this_slurm_job() is None


def test_a_job_that_nobody_answers_for_is_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_slurm_job() is None
