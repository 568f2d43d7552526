"""Models as people have them: from a library, wrapped for several ranks."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from deephochuli.taps import Selection


def test_gpt2_from_its_configuration(watch):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=50,
        n_positions=8,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters())
    x = torch.randint(0, 50, (2, 8))
    inputs = []
    mlp = model.transformer.h[1].mlp
    handle = mlp.register_forward_pre_hook(lambda module, args: inputs.append(args[0].detach()))
    with watch(model, optimizer, selection=Selection(outputs=True)) as seen:
        out = model(x, labels=x)
        out.loss.backward()
        optimizer.step()
    handle.remove()
    weight = seen.attachment.model.transformer.h[1].mlp.c_fc
    before = seen.before["transformer.h.1.mlp.c_fc.weight"]
    z = torch.addmm(weight.bias.detach() * 0, inputs[0].view(-1, 16), before)
    z += seen.before["transformer.h.1.mlp.c_fc.bias"]
    assert torch.allclose(seen.one("transformer.h.1.mlp.act:z").view(-1, 64), z, atol=1e-6)
    assert seen.counts("dz") == {f"transformer.h.{i}.mlp.act:dz": 1 for i in (1, 0)}
    assert torch.equal(seen.one("output.logits:a"), out.logits)
    assert seen.one("transformer.h.0.attn.attention:a").shape == (2, 2, 8, 8)
    assert seen.places["transformer.h.1.mlp.c_fc.weight:w"].channel_dim == 1  # input first
    assert "lm_head.weight:w" not in seen.seen, "tied to the embedding"
    assert "transformer.wte.weight:w" in seen.seen


@pytest.fixture
def one_rank():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("handed_over", ["wrapped", "inner"])
def test_a_model_wrapped_for_several_ranks_keeps_its_names(watch, one_rank, handed_over):
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model = nn.parallel.DistributedDataParallel(inner)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model if handed_over == "wrapped" else inner, optimizer) as seen:
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    assert seen.events == ["train", "end", "before", "after"]
    assert {"1:z", "1:dz", "0.weight:g", "0.weight:dw"} <= set(seen.seen)
