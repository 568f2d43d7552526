"""Ways of training: optimizers, threads, averages, hooks, transforms, precisions."""

import copy
import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.nn import functional as F
from torch.optim import swa_utils
from torch.utils.checkpoint import checkpoint

from tests.neutrality.harness import Training
from tests.neutrality.models import Pair, classify, from_transformers, mlp, resnet, tokens, vectors


def plain_loss(model: nn.Module) -> Tensor:
    x, y = vectors()
    return F.cross_entropy(model(x), y)


def updated(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


# ---- optimizers


def fused_optimizer() -> Training:
    model = mlp(nn.GELU())
    return classify(model, torch.optim.AdamW(model.parameters(), 1e-2, fused=True), vectors)


def foreach_optimizer() -> Training:
    model = mlp(nn.GELU())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, foreach=True, amsgrad=True)
    return classify(model, optimizer, vectors)


def many_optimizers() -> Training:
    """One optimizer of a kind for each layer, and a layer that is changed by hand."""
    kinds = (torch.optim.Adadelta, torch.optim.Adamax, torch.optim.ASGD, torch.optim.Adafactor)
    layers = [nn.Linear(16, 16) for _ in range(len(kinds) + 1)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.SELU())))
    optimizers = [kind(layer.parameters()) for kind, layer in zip(kinds, layers, strict=False)]

    def step(_: int) -> Tensor:
        loss = plain_loss(model)
        model.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            for parameter in layers[-1].parameters():
                parameter -= 0.01 * parameter.grad
        return loss

    return Training(model, optimizers, step)


def strong_wolfe() -> Training:
    model = mlp(nn.Tanh())
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=4, history_size=5, line_search_fn="strong_wolfe"
    )

    def step(_: int) -> Tensor:
        x, y = vectors()

        def evaluate() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        return optimizer.step(evaluate)

    return Training(model, [optimizer], step)


def schedules() -> Training:
    """A cycle of rate and momentum, and a plateau; layers are unfrozen on the way."""
    model = mlp(nn.Softplus())
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=1000)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)

    def step(i: int) -> Tensor:
        if i == 2:
            model[0].requires_grad_(True)
        loss = updated(optimizer, plain_loss(model))
        (plateau.step(loss.item()) if i % 7 == 3 else cycle.step())
        return loss

    return Training(model, [optimizer], step, lambda: [cycle.state_dict()["last_epoch"]])


def updates_in_backward() -> Training:
    """An optimizer for each weight, which steps as soon as the gradient is there."""
    model = mlp(nn.ReLU())
    optimizers = {p: torch.optim.SGD([p], 0.05, momentum=0.9) for p in model.parameters()}

    def update(parameter: Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(update)

    def step(_: int) -> Tensor:
        loss = plain_loss(model)
        loss.backward()
        return loss

    return Training(model, list(optimizers.values()), step)


def sharpness_aware() -> Training:
    """Two forward and backward passes for each update; weights are moved and moved back."""
    model = mlp(nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step(_: int) -> Tensor:
        x, y = vectors()
        kept = [p.detach().clone() for p in model.parameters()]
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p in model.parameters():
                p += 0.05 * p.grad / (p.grad.norm() + 1e-12)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        with torch.no_grad():
            for p, before in zip(model.parameters(), kept, strict=True):
                p.copy_(before)
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


# ---- averages and copies


def moving_average() -> Training:
    """An exponential average of the weights, with its own batch statistics at the end."""
    model = resnet()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    average = swa_utils.AveragedModel(
        model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    shadow = copy.deepcopy(model).requires_grad_(False)

    def step(_: int) -> Tensor:
        x, y = torch.randn(4, 3, 8, 8), torch.randint(0, 10, (4,))
        loss = updated(optimizer, F.cross_entropy(model(x), y))
        average.update_parameters(model)
        with torch.no_grad():
            for mine, theirs in zip(shadow.parameters(), model.parameters(), strict=True):
                mine.lerp_(theirs, 0.1)
            shadow(x)
        return loss

    def more() -> object:
        swa_utils.update_bn([torch.randn(4, 3, 8, 8) for _ in range(2)], average)
        return [average.state_dict(), shadow.state_dict()]

    return Training(model, [optimizer], step, more)


def distillation() -> Training:
    """A teacher that is a copy, called in inference mode inside the loss."""
    model = mlp(nn.Hardsigmoid())
    teacher = copy.deepcopy(model).eval()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step(_: int) -> Tensor:
        x, _y = vectors()
        with torch.inference_mode():
            wanted = teacher(x).softmax(1)
        return updated(
            optimizer, F.kl_div(model(x).log_softmax(1), wanted.clone(), reduction="batchmean")
        )

    return Training(model, [optimizer], step)


# ---- threads


def in_threads(jobs: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def threads_on_parts() -> Training:
    """Two threads, each running forward and backward on a part of one model."""
    model = nn.ModuleList([mlp(nn.ReLU()), mlp(nn.Tanh())])
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)

    def step(_: int) -> Tensor:
        batches, losses = [vectors(), vectors()], torch.zeros(2)

        def work(index: int) -> None:
            x, y = batches[index]
            loss = F.cross_entropy(F.relu(model[index](x)), y)
            loss.backward()
            losses[index] = loss.detach()

        optimizer.zero_grad()
        in_threads([lambda: work(0), lambda: work(1)])
        optimizer.step()
        return losses

    return Training(model, [optimizer], step)


def threads_in_backward() -> Training:
    """One forward after the other, and two backward passes at once into the same gradients.

    Two addends commute, so the gradients are the same whichever comes first.
    """
    model = mlp(nn.ELU())
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step(_: int) -> Tensor:
        losses = [plain_loss(model), plain_loss(model)]
        optimizer.zero_grad(set_to_none=False)
        in_threads([loss.backward for loss in losses])
        optimizer.step()
        return torch.stack([loss.detach() for loss in losses])

    return Training(model, [optimizer], step)


def threads_on_two_models() -> Training:
    """Another thread trains another model at the same time; only one of them is looked at."""
    model, other = mlp(nn.ReLU()), mlp(nn.ReLU())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    other_optimizer = torch.optim.Adam(other.parameters(), 1e-3)

    def step(_: int) -> Tensor:
        batches, losses = [vectors(), vectors()], torch.zeros(2)

        def work(index: int, net: nn.Module, its: torch.optim.Optimizer) -> None:
            x, y = batches[index]
            losses[index] = updated(its, F.cross_entropy(net(x), y)).detach()

        in_threads([lambda: work(0, model, optimizer), lambda: work(1, other, other_optimizer)])
        return losses

    return Training(model, [optimizer], step, other.state_dict)


# ---- hooks, wrappers and transforms


def hooks_of_the_user() -> Training:
    """Hooks that change inputs, outputs and gradients, on modules, tensors and weights."""
    model = mlp(nn.Hardswish())
    model[0].register_forward_pre_hook(lambda _module, args: (args[0] * 1.5,))
    model[1].register_forward_hook(lambda _module, _args, output: output + 0.125)
    model[1].register_full_backward_hook(lambda _module, _into, _out: None)
    model[-1].weight.register_hook(lambda gradient: gradient.clamp(-0.1, 0.1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.register_step_post_hook(lambda its, _args, _kwargs: model[0].weight.data.mul_(0.999))
    return classify(model, optimizer, vectors)


def data_parallel() -> Training:
    """On a machine without GPUs it passes everything through."""
    model = nn.DataParallel(mlp(nn.Linear(16, 16), nn.ReLU(inplace=True)))
    return classify(model, torch.optim.SGD(model.parameters(), 0.05), vectors)


def functional_calls() -> Training:
    """Meta-learning: a step on weights that are no parameters, and the gradient through it."""
    model = mlp(nn.SiLU())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step(_: int) -> Tensor:
        (x, y), (x2, y2) = vectors(), vectors()
        weights = dict(model.named_parameters())
        inner = F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)
        gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        fast = {n: w - 0.1 * g for (n, w), g in zip(weights.items(), gradients, strict=True)}
        outer = F.cross_entropy(torch.func.functional_call(model, fast, (x2,)), y2)
        return updated(optimizer, outer)

    return Training(model, [optimizer], step)


def gradients_per_sample() -> Training:
    """torch.func: vmap over grad, clipped for each sample, between two ordinary steps."""
    model = mlp(nn.Sigmoid())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def loss_of(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, weights, (x[None],))
        return F.cross_entropy(logits, y[None])

    def step(_: int) -> Tensor:
        x, y = vectors()
        weights = {name: p.detach() for name, p in model.named_parameters()}
        each = torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0, 0))(weights, x, y)
        loss = updated(optimizer, plain_loss(model))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter -= 0.01 * each[name].clamp(-0.01, 0.01).mean(0)
        return loss

    return Training(model, [optimizer], step)


def hessian_vector_product() -> Training:
    model = mlp(nn.Softplus())
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def step(_: int) -> Tensor:
        weights = list(model.parameters())
        loss = plain_loss(model)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        along = sum((g * torch.ones_like(g)).sum() for g in gradients)
        products = torch.autograd.grad(along, weights)
        for weight, gradient, product in zip(weights, gradients, products, strict=True):
            weight.grad = gradient.detach() + 0.1 * product
        optimizer.step()
        return loss

    return Training(model, [optimizer], step)


def saved_tensors_moved() -> Training:
    """Saved tensors pass through hooks, inside a checkpoint, with anomaly detection on."""
    model = nn.Sequential(mlp(nn.Dropout(0.1)), nn.Linear(10, 10))

    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            with save_on_cpu():
                x = checkpoint(self.inner[0], x, use_reentrant=False)
                return self.inner[1](F.glu(torch.cat([x, x], 1)))

    whole = Moved()
    return classify(whole, torch.optim.SGD(whole.parameters(), 0.05), vectors)


def checkpointed(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    return checkpoint(function, *args, use_reentrant=False, **kwargs)


def checkpointed_gpt2() -> Training:
    """A library's own gradient checkpointing."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=50,
        n_positions=16,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    model = GPT2LMHeadModel(config)
    for layer in model.transformer.h:  # the name of the method differs between releases
        layer.gradient_checkpointing, layer._gradient_checkpointing_func = True, checkpointed
    return from_transformers(model, lambda: 2 * (tokens(),))


def two_scaled_optimizers() -> Training:
    """A generative adversarial pair in BF16 autocast with one gradient scaler, accumulating."""
    model = Pair()
    first = torch.optim.Adam(model.generator.parameters(), 1e-3)
    second = torch.optim.Adam(model.discriminator.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)

    def step(_: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            fake = model.generator(torch.randn(8, 16))
            loss = F.softplus(model.discriminator(fake.detach())).mean()
            deceit = F.softplus(-model.discriminator(fake)).mean()
        second.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(second)
        nn.utils.clip_grad_norm_(model.discriminator.parameters(), 0.1)
        scaler.step(second)
        first.zero_grad()
        scaler.scale(deceit).backward()
        scaler.step(first)
        scaler.update()
        return (loss + deceit).float()

    return Training(model, [first, second], step, scaler.state_dict)


# ---- precisions


def pure(dtype: torch.dtype) -> Training:
    model = mlp(nn.LayerNorm(16), nn.GELU()).to(dtype)
    draw = lambda: (vectors()[0].to(dtype), torch.randint(0, 10, (8,)))  # noqa: E731
    return classify(model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), draw)


def pure_float16() -> Training:
    return pure(torch.float16)


def pure_float64() -> Training:
    return pure(torch.float64)


WAYS = (
    fused_optimizer,
    foreach_optimizer,
    many_optimizers,
    strong_wolfe,
    schedules,
    updates_in_backward,
    sharpness_aware,
    moving_average,
    distillation,
    threads_on_parts,
    threads_in_backward,
    threads_on_two_models,
    hooks_of_the_user,
    data_parallel,
    functional_calls,
    gradients_per_sample,
    hessian_vector_product,
    saved_tensors_moved,
    checkpointed_gpt2,
    two_scaled_optimizers,
    pure_float16,
    pure_float64,
)
