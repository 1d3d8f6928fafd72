"""What PyTorch does in `contest` and `gpu`: nothing here imports TensorFlow, which need not be beside it."""

from collections.abc import Callable
from typing import Any


def torch_depthwise(shape: Any) -> Callable[[], Any]:
    """A `contest.Shape` in channels_last, with its gradients."""
    import torch

    channels = shape.channels
    x = torch.randn(shape.images, channels, shape.side, shape.side).to(memory_format=torch.channels_last)
    w = torch.randn(channels * shape.multiplier, 1, shape.kernel, shape.kernel, requires_grad=True)
    x.requires_grad_(True)
    pad = (shape.kernel - 1) * shape.rate // 2

    def run() -> None:
        y = torch.nn.functional.conv2d(x, w, None, shape.stride, pad, shape.rate, channels)
        torch.autograd.grad(y, (x, w), torch.ones_like(y))

    return run


def torch_training_step(
    side: int = 128, images: int = 32, device: str = "cpu", half: bool = False, compiled: bool = False
) -> Callable[[], float]:
    """A step of SGD of MobileNet v1 in channels_last; `half` is float16 by autocast, with a scaled loss."""
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    model = _mobilenet_v1().to(device, memory_format=torch.channels_last)
    called = torch.compile(model) if compiled else model
    x = torch.rand(images, 3, side, side, device=device).to(memory_format=torch.channels_last)
    labels, loss = torch.arange(images, device=device), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    scaler = torch.amp.GradScaler(device, enabled=half)

    def run() -> float:
        optimizer.zero_grad()
        with torch.autocast(device, torch.float16, enabled=half):
            value = loss(called(x), labels)
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        return value.item()

    return run


def _mobilenet_v1() -> Any:
    from torch import nn

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [
            *(
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU6(True),
            ),
            *(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6(True)),
        ]

    widths = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    parts: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(True)]
    inputs = 32
    for outputs, stride in widths:
        parts += block(inputs, outputs, stride)
        inputs = outputs
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))
