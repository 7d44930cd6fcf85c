"""PyTorch Lightning on a workload, with norms and histograms of its gradients in TensorBoard."""

from __future__ import annotations

import logging

import lightning
import numpy as np
import torch
from benchmark_runner import Entry, Runner
from benchmark_workloads import (
    CLIP_NORM,
    LEARNING_RATE,
    NEVER,
    Workload,
    workload,
)
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset


class Recurrent(nn.Module):
    """An LSTM that gives all its outputs, or the last one."""

    def __init__(self, width: int, units: int, return_sequences: bool = False):
        super().__init__()
        self.lstm = nn.LSTM(width, units, batch_first=True)
        self.return_sequences = return_sequences

    def forward(self, x):
        outputs, _ = self.lstm(x)
        return outputs if self.return_sequences else outputs[:, -1]


class Observed(lightning.LightningModule):
    """A network of which every `log_every`th step's gradients are written."""

    def __init__(self, network: nn.Module, log_every: int):
        super().__init__()
        self.network, self.log_every = network, log_every

    def training_step(self, batch, index):
        x, y = batch
        loss = nn.functional.cross_entropy(self.network(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), LEARNING_RATE)

    def on_before_optimizer_step(self, optimizer):
        step = self.trainer.global_step
        if step % self.log_every == 0:
            self.log_dict(
                {
                    f"grad_norm/{name}": one.grad.norm()
                    for name, one in self.named_parameters()
                }
            )
            for name, one in self.named_parameters():
                self.logger.experiment.add_histogram(
                    f"grad/{name}", one.grad, step
                )


def lightning_observed(entry: Entry) -> Runner:
    """Lightning's own loop."""
    chosen = workload(entry.workload_name)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    x, y = chosen.arrays()
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x
    data = TensorDataset(
        torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    )
    endless = RandomSampler(
        data, replacement=True, num_samples=NEVER // chosen.batch * chosen.batch
    )
    model = Observed(network(chosen, data.tensors[0]), entry.log_every)
    trainer = lightning.Trainer(
        max_epochs=-1,
        logger=TensorBoardLogger(entry.folder),
        log_every_n_steps=entry.log_every,
        gradient_clip_val=CLIP_NORM,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(data, chosen.batch, sampler=endless, drop_last=True)
    return Runner(
        lambda: trainer.fit(model, loader), lambda: trainer.global_step
    )


def network(chosen: Workload, x) -> nn.Sequential:
    """The layers of a workload in PyTorch."""
    layers, width = [], x.shape[-1]
    for layer in chosen.layers:
        name, given = (
            layer["name"],
            {key: value for key, value in layer.items() if key != "name"},
        )
        activation = given.pop("activation", None)
        if name == "lstm":
            layers.append(Recurrent(width, **given))
            width = given["units"]
        else:
            layers.append(KINDS[name](*given.values()))
        layers += [nn.ReLU()] if activation == "relu" else []
    made = nn.Sequential(*layers)
    made(x[:2])  # here the lazy layers find their shapes
    return made


KINDS = {
    "dense": nn.LazyLinear,
    "conv2d": nn.LazyConv2d,
    "max_pooling2d": lambda: nn.MaxPool2d(2),
    "flatten": nn.Flatten,
}
PEERS = {"lightning_observed": lightning_observed}
