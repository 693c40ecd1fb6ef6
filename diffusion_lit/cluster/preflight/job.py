"""SLURM's variables: what Lightning would make of them."""

from collections.abc import Mapping

from diffusion_lit.cluster.preflight.result import Result, fine, stops, warns

__all__ = ["slurm"]

_INTERACTIVE = ("bash", "interactive")  # names of jobs in which Lightning starts processes itself


def slurm(variables: Mapping[str, str], devices: int | None, nodes: int | None) -> Result:
    """Compare what the job has with what the run asks for, by the rules of Lightning's SLURMEnvironment.

    Args:
        variables: of the environment.
        devices: training processes of a node, None if no run is checked.
        nodes: of the run, likewise.
    """
    if "SLURM_JOB_ID" not in variables:
        if "SLURM_NTASKS" in variables:
            return warns(
                "SLURM_NTASKS is set outside of a job, and Lightning takes itself for one of its processes",
                "unset SLURM_NTASKS",
            )
        return fine("not in a job")
    job, tasks = variables["SLURM_JOB_ID"], int(variables.get("SLURM_NTASKS", "1"))
    if variables.get("SLURM_JOB_NAME") in _INTERACTIVE:
        return fine(f"job {job}, interactive: Lightning starts processes itself, on this node only")
    if "SLURM_NTASKS" not in variables:
        return fine(f"job {job}, one process")
    per_node, given = variables.get("SLURM_NTASKS_PER_NODE"), variables.get("SLURM_NNODES")
    if tasks > 1 and per_node is None:
        return stops(f"job {job}: --ntasks={tasks}, which Lightning refuses", "sbatch --nodes=N --ntasks-per-node=M")
    if devices is not None and per_node is not None and int(per_node) != devices:
        return stops(
            f"job {job}: {per_node} tasks a node, trainer.devices={devices}",
            f"trainer.devices={per_node}, or --ntasks-per-node={devices}",
        )
    if nodes is not None and given is not None and int(given) != nodes:
        return stops(f"job {job}: {given} nodes, trainer.num_nodes={nodes}", f"++trainer.num_nodes={given}")
    size = f"job {job}, {given or 1} nodes, {tasks} tasks"
    if "SLURM_STEP_ID" not in variables and tasks > 1:
        return warns(
            f"{size}, not started by srun: a training that is started so waits for the other {tasks - 1}",
            "srun diffusion-lit train ...",
        )
    if "SLURM_PTY_PORT" in variables:
        return warns(
            f"{size}, in a shell that Lightning takes for a task",
            "srun --job-name=interactive --pty bash, or unset SLURM_NTASKS",
        )
    return fine(size)
