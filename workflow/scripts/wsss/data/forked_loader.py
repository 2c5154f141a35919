"""Data loaders whose processes are forked."""

from typing import Any

from torch.utils.data import DataLoader, Dataset

from wsss.engine.workers import quiet_worker


class Samples(Dataset):
    """What a training reads: a dataset that knows how many samples it has."""

    def __len__(self) -> int:
        raise NotImplementedError


def forked_loader(dataset: Dataset, workers: int, **options: Any) -> DataLoader:
    """A data loader whose `workers` are forked and start as `quiet_worker`; with 0 this process reads.

    options: of DataLoader: which samples, in what batches.
    """
    context = "fork" if workers else None
    return DataLoader(
        dataset, num_workers=workers, multiprocessing_context=context, worker_init_fn=quiet_worker, **options
    )
