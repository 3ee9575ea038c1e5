"""What every section of the configuration is, and the longest of them: how the classifier is trained."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NOT_CONTENT: dict[str, Any] = {"content": False}
"""Marks a field that changes how a table is made, not what is in it."""


class Section(BaseModel):
    """Base of every section: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class Train(Section):
    """How the classifier is trained."""

    backbone: str = Field("tf_efficientnet_b7", description="any timm model name")
    weights: str = Field("auto", description="initial weights: auto | package | hub | random | path of a file")
    image_size: int | None = Field(None, ge=32, le=1024, description="pixels; null = the backbone's own input size")
    folds: tuple[int, ...] | None = Field(None, description="folds held out in turn, a model each; null = all of them")
    epochs: int = Field(6, ge=1, le=1000, description="passes over the training faces")
    batch_size: int = Field(16, ge=1, le=4096, description="faces a worker and step")
    learning_rate: float = Field(3e-4, gt=0, le=10, description="of AdamW at its peak; cosine decay to zero")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(0.01, ge=0, le=1, description="of AdamW")
    clip_gradient: float | None = Field(None, gt=0, description="largest norm of the gradient; null = as it comes")
    label_smoothing: float = Field(0.05, ge=0, lt=0.5, description="share of the target given to the other class")
    dropout: float = Field(0.2, ge=0, lt=1, description="before the softmax head")
    frozen_layers: int = Field(0, ge=0, description="first groups of layers (timm's) that keep their initial weights")
    freeze_norm: bool = Field(False, description="batch normalisation keeps its initial means and variances")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay a step of the moving average of the weights that becomes the model; 0 = the last"
    )
    augmentation: Literal["none", "report", "best"] = Field("report", description="list of augmentations, applied on the fly")
    balance: bool = Field(False, description="show both classes equally often, by repeating faces of the rarer one")
    self_blending: float = Field(
        0.0, ge=0, le=1, description="share of the FAKE faces shown that are made, each time anew, of REAL ones"
    )
    seed: int = Field(0, ge=0, description="of the initial head, the order of the faces and their augmentation")
    workers: int = Field(1, ge=1, le=1024, description="data-parallel Ray Train workers")
