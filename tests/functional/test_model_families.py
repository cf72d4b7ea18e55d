"""Models of many families through training, evaluation in process and merging, held to transformers and PEFT alone.

Real here: torch, transformers, PEFT, Training Hub, our loop and engine. Not real: the models have two random layers
(families.py), so what they say means nothing; but a window or cap that is left out changes it, as one test shows.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from bakery import ROOT, manifest, small_recipe
from bakery import run as run_command

from families import FAMILIES, WINDOW, write_family
from tuning_room.engines import Sampling, Talk
from tuning_room.engines.local import LocalEngine
from tuning_room.models import load_model, load_tokenizer
from tuning_room.models.merging import merge
from tuning_room.records import Dialogue, Message, write_jsonl
from tuning_room.rendering import Rendered, prompt_ids
from tuning_room.train import run
from tuning_room.train.config import LoopConfig, TrainConfig
from tuning_room.train.loop import LoraTrainer
from tuning_room.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")
LONGEST = 8
QUESTIONS = ["Hi", "What is 3 x 4, and why is it so?", "Why?", "A much longer question about seven apples and pears"]
CORE = [
    "Llama", "Qwen2", "Qwen3", "Qwen3-MoE", "Mistral", "Mistral, window", "Gemma 2", "Gemma 3", "Phi-3", "Granite",
    "OLMo 2", "gpt-oss", "SmolLM3", "Falcon-H1",
]  # fmt: skip
NAMES = [name if name in CORE else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]


class TrainedFamily(NamedTuple):
    """A family's model, the adapter that three steps gave, and what training said."""

    model: Path
    adapter: Path
    steps: int


def dialogue(number: int) -> Dialogue:
    """Return a row of a length of its own, longer than every window."""
    turns = [
        ("system", "Ask."),
        ("user", f"What is {number} + {number % 7}?"),
        ("assistant", "And then? " * (1 + number % 3)),
    ]
    messages = [Message(role=role, content=text.strip()) for role, text in turns]  # type: ignore[arg-type]
    return Dialogue(id=f"r{number}", source="test", group=f"g{number}", messages=messages)


@pytest.fixture(scope="module")
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainedFamily:
    """The named family, trained by the stage `train` for three steps at a rate that changes what it says."""
    name: str = request.param
    folder = tmp_path_factory.mktemp("family")
    model = folder / "model"
    model.mkdir()
    write_family(name, model)
    workspace = Workspace(folder / "run")
    workspace.train_rows.parent.mkdir(parents=True)
    write_jsonl(workspace.train_rows, [dialogue(n) for n in range(12)])
    write_jsonl(workspace.valid_rows, [dialogue(n) for n in range(20, 23)])
    config = TrainConfig(
        model=str(model), recipe="r", short_prompt="Ask.", rank=4, alpha=64, batch_size=4, learning_rate=0.05, seed=1
    )
    result = run(config, workspace)
    return TrainedFamily(model, workspace.adapter, result.steps)


each_family = pytest.mark.parametrize("family", NAMES, indirect=True)


def asked(question: str) -> list[Message]:
    return [Message(role="system", content="Ask."), Message(role="user", content=question)]


def generated(model: Any, prompt: list[int]) -> list[int]:
    """Return what `generate` says to a prompt that is alone, up to the end of the turn."""
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        said = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=LONGEST, do_sample=False, pad_token_id=0
        )
    return [int(token) for token in said[0, len(prompt) :]]


def replied(engine: LocalEngine, model: str, questions: list[str], **more: Any) -> list[list[int]]:
    """Return the engine's tokens for questions asked in one batch."""
    replies: list[list[int]] = [[] for _ in questions]
    for step in engine.steps(model, [asked(question) for question in questions], Sampling(LONGEST, **more)):
        for place, token in step:
            replies[place].append(token)
    return replies


@each_family
def test_replies_are_those_of_generate(family: TrainedFamily, request: pytest.FixtureRequest) -> None:
    from peft import PeftModel

    kind = FAMILIES[request.node.callspec.params["family"]]
    assert family.steps == 3
    engine = LocalEngine(family.model, adapters={"trained": family.adapter}, batch_size=3)
    assert ("not by the fast decoder" in engine.path) is not kind.fast, engine.path
    prompts = [prompt_ids(engine.tokenizer, asked(question)) for question in QUESTIONS]
    assert min(map(len, prompts)) > WINDOW
    plain: Any = load_model(family.model)
    expected = {"base": [generated(plain, prompt) for prompt in prompts]}
    plain = PeftModel.from_pretrained(plain, str(family.adapter)).eval()
    expected["trained"] = [generated(plain, prompt) for prompt in prompts]
    assert expected["base"] != expected["trained"]
    assert len({tuple(reply) for reply in expected["base"]}) > 1
    for model, replies in expected.items():
        assert replied(engine, model, QUESTIONS) == replies, f"{model}, in batches of three"
        assert [replied(engine, model, [question])[0] for question in QUESTIONS] == replies, f"{model}, alone"
    talks = [Talk(model, asked(question), ["And?"]) for question in QUESTIONS for model in expected]
    assert engine.converse(talks, Sampling(4)) == [engine.converse([talk], Sampling(4))[0] for talk in talks]
    assert replied(engine, "trained", QUESTIONS, temperature=1.0, seed=3) == replied(
        engine, "trained", QUESTIONS, temperature=1.0, seed=3
    )


@each_family
def test_scores_are_those_of_a_whole_forward_pass(family: TrainedFamily) -> None:
    engine = LocalEngine(family.model, adapters={"trained": family.adapter}, batch_size=5)
    plain: Any = load_model(family.model)
    answers = ["So", "Because it is.", "No"]
    dialogues = [asked(question) for question in QUESTIONS for _ in answers]
    found = engine.log_likelihoods("base", dialogues, answers * len(QUESTIONS))
    with torch.inference_mode():
        for turns, answer, score in zip(dialogues, answers * len(QUESTIONS), found, strict=True):
            prompt = prompt_ids(engine.tokenizer, turns)
            said: list[int] = list(engine.tokenizer(answer, add_special_tokens=False)["input_ids"])  # type: ignore[arg-type]
            each = plain(input_ids=torch.tensor([prompt + said])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            assert score.total == pytest.approx(sum(float(each[i, token]) for i, token in enumerate(said)), abs=1e-3)
            row = Rendered(prompt + said, [False] * len(prompt) + [True] * len(said))
            if answer == "So":
                tops = engine.top_tokens("base", [row], 5)[0]
                torch.testing.assert_close(tops.scores, each.topk(5).values, rtol=1e-3, atol=1e-3)
    assert engine.divergence(["Snow fell all night long on the hills."], "base", "base").mean < 1e-6
    assert engine.divergence(["Snow fell all night long on the hills."], "base", "trained").mean > 1e-4


@each_family
def test_merged_it_says_what_the_adapter_says(family: TrainedFamily, tmp_path: Path) -> None:
    found = merge(str(family.model), family.adapter, tmp_path / "merged", system="Ask.")
    assert found.largest_difference < 0.01 < found.adapter_moves
    engine = LocalEngine(family.model, adapters={"trained": family.adapter})
    merged = LocalEngine(tmp_path / "merged")
    assert replied(merged, "base", QUESTIONS) == replied(engine, "trained", QUESTIONS)


@each_family
def test_the_loss_of_a_batch_is_that_of_its_rows_alone(
    family: TrainedFamily, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [dialogue(n) for n in range(5)])
    given = {
        "model_path": str(family.model),
        "data_path": str(tmp_path / "rows.jsonl"),
        "ckpt_output_dir": str(tmp_path),
    }
    trainer = LoraTrainer(LoopConfig.from_hub({**given, "lora_r": 4, "lora_alpha": 8, "num_epochs": 1}))
    assert bool(trainer.unpacked) is not FAMILIES[request.node.callspec.params["family"]].packs, trainer.unpacked
    plain: Any = load_model(family.model)
    total, count = 0.0, 0
    with torch.no_grad():
        loss = float(trainer._loss(trainer.batch(trainer.rows)))
        for row in trainer.rows:
            each = plain(input_ids=torch.tensor([row.input_ids])).logits[0].log_softmax(-1)
            learned = [place for place, learn in enumerate(row.learned) if learn]
            total -= sum(float(each[place - 1, row.input_ids[place]]) for place in learned)
            count += len(learned)
    assert loss == pytest.approx(total / count, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name, kind in FAMILIES.items() for setting in kind.bites]
)
def test_what_a_family_has_of_its_own_changes_what_it_says(tmp_path: Path, name: str, setting: str) -> None:
    write_family(name, tmp_path)
    model: Any = load_model(tmp_path)
    prompts = [prompt_ids(load_tokenizer(tmp_path), asked(question)) for question in QUESTIONS]
    expected = [generated(model, prompt) for prompt in prompts]
    setattr(model.config, setting, FAMILIES[name].bites[setting])
    other = type(model)(model.config).eval()
    other.load_state_dict(model.state_dict())
    assert [generated(other, prompt) for prompt in prompts] != expected


@pytest.mark.parametrize("stage", ["advise", "train", "bake"])
def test_what_cannot_be_trained_is_said_before_the_first_stage(tmp_path: Path, stage: str) -> None:
    write_family("Llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForTokenClassification"]}))
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    small_recipe(recipe, model=str(tmp_path))
    done = run_command(stage, str(recipe), cwd=tmp_path)
    assert done.returncode == 2
    assert "its weights are those of a LlamaForTokenClassification" in done.stderr and "Traceback" not in done.stderr
    assert not manifest(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Gemma 2", "Falcon-H1"])
def test_a_recipe_is_baked_on_a_model_that_the_fast_decoder_cannot_compute(tmp_path: Path, name: str) -> None:
    model, recipe = tmp_path / "model", tmp_path / "recipe"
    model.mkdir()
    recipe.mkdir()
    write_family(name, model)
    settings = yaml.safe_load((small_recipe(recipe) / "recipe.yaml").read_text(encoding="utf-8"))
    settings |= {"model": str(model), "train": {**settings["train"], "max_length": 4096, "skip_layers": 0}}
    (recipe / "recipe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = run_command("bake", str(recipe), cwd=tmp_path)
    assert done.returncode != 2 and "Traceback" not in done.stderr, done.stderr
    assert "note: trained in padded rows, not packed ones: " in done.stderr
    assert "note: computed by transformers' own cache, not by the fast decoder: " in done.stderr
    assert [entry["state"] for entry in manifest(tmp_path).values()] == ["done"] * 6


def test_the_table_of_families_says_what_is_tested() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    lines = text.split("## Which models")[1].split("## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    table = {line[0]: line for line in cells[2:]}
    assert [*table] == [*FAMILIES]
    for name, family in FAMILIES.items():
        trained, evaluated = table[name][2:4]
        assert trained == ("packed" if family.packs else "padded")
        assert evaluated.startswith("fast decoder" if family.fast else "library's cache")
