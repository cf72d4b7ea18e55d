"""What each objective does to a Llama of two random layers. Real here: torch, PEFT, the in-process engine, the files.

Not real: the model knows nothing, and its "teacher" is noise. That a loss falls shows that it is lowered, not that
anything useful is learned; docs/training.md has measurements on a real model.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from training_rows import STEPS, Configure

from tuning_room.errors import DataError, TrainingError
from tuning_room.models import load_model, load_tokenizer
from tuning_room.rendering import Rendered, prompt_ids, render_dialogue, with_system
from tuning_room.train.lessons import NeutralRows, Targets, check_aligned, read_prompts
from tuning_room.train.loop import LoraTrainer
from tuning_room.train.objectives import TOP, forward_divergence

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPT = "Ask, and say nothing else. " * 4


@pytest.fixture
def neutral(tmp_path: Path) -> Path:
    path = tmp_path / "neutral.txt"
    path.write_text("Name a colour.\n\n Where is Rome?\nSay hello.\n", encoding="utf-8")
    return path


def losses(trainer: LoraTrainer) -> list[float]:
    return [metric.loss for metric in trainer.metrics.read()]


def last(trainer: LoraTrainer, count: int = 4) -> float:
    return sum(losses(trainer)[-count:]) / count


# --- distillation


def test_the_teacher_is_the_base_model_under_the_full_prompt(configure: Configure) -> None:
    trainer = LoraTrainer(configure(distill=1.0, teacher_prompt=PROMPT))
    base = load_model(trainer.config.model_path)
    for number in (0, 3, 8):
        turns = [turn for turn in trainer.lessons.dialogues[number] if turn.role != "system"]
        under = render_dialogue(trainer.tokenizer, with_system(PROMPT, turns))
        with torch.inference_mode():
            scores = base(input_ids=torch.tensor([under.input_ids])).logits[0, :-1]
        expected = scores[torch.tensor(under.learned[1:])].log_softmax(-1).topk(TOP)
        found = trainer.lessons.tops[number]
        assert found.scores.shape == (sum(trainer.rows[number].learned), TOP)
        assert torch.allclose(found.scores, expected.values, atol=1e-4)
        assert float((found.ids == expected.indices).float().mean()) > 0.95  # near ties may change places


def test_distillation_comes_nearer_to_the_teacher(configure: Configure) -> None:
    config = configure(distill=1.0, sft=0.0, teacher_prompt=PROMPT, num_epochs=12, max_steps=40)
    trainer = LoraTrainer(config)
    trainer.train()
    assert last(trainer) < 0.7 * losses(trainer)[0]
    metrics = [metric.valid_loss for metric in trainer.metrics.read() if metric.valid_loss is not None]
    assert min(metrics) < metrics[0]


def test_two_objectives_add_up_by_their_weights(configure: Configure) -> None:
    def first(folder: str, **weights: float) -> float:
        trainer = LoraTrainer(configure(folder, teacher_prompt=PROMPT, max_steps=1, **weights))
        trainer.train()
        return losses(trainer)[0]

    replies, teacher = first("a", sft=1.0), first("b", sft=0.0, distill=1.0)
    assert first("c", sft=0.5, distill=2.0) == pytest.approx(0.5 * replies + 2 * teacher, abs=1e-5)


def test_what_the_teacher_said_is_kept(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(distill=1.0, teacher_prompt=PROMPT)
    first = LoraTrainer(config)
    monkeypatch.setattr(Targets, "engine", property(lambda self: pytest.fail("the base model is asked again")))
    again = LoraTrainer(config)
    for one, other in zip(first.lessons.tops, again.lessons.tops, strict=True):
        assert torch.equal(one.scores, other.scores) and torch.equal(one.ids, other.ids)
    monkeypatch.undo()
    heard: list[Any] = []
    LoraTrainer(configure(distill=1.0, teacher_prompt="Other.", on_prepare=lambda *part: heard.append(part)))
    assert heard[0][0] == "teacher" and heard[-1][1:] == (5, 5)  # the validation rows come last


def test_replies_that_would_not_be_the_same_tokens_are_refused() -> None:
    check_aligned(Rendered([1, 2, 3], [False, True, True]), Rendered([9, 9, 2, 3], [False, False, True, True]))
    with pytest.raises(TrainingError, match="other tokens under the full prompt"):
        check_aligned(Rendered([1, 2, 3], [False, True, True]), Rendered([9, 9, 3], [False, False, True]))


# --- retention


def moved(trainer: LoraTrainer) -> float:
    """Return how far a trained model is from its base on the neutral rows."""
    neutral = trainer.lessons.neutral
    assert neutral
    from tuning_room.train.batches import collate
    from tuning_room.train.objectives import joined

    trainer.model.eval()
    with torch.inference_mode():
        return float(forward_divergence(trainer._scores(collate(neutral.rendered))[0], joined(neutral.tops)))


def test_retention_holds_the_model_near_its_base_where_nothing_is_to_change(
    configure: Configure, neutral: Path
) -> None:
    def trained(folder: str, weight: float) -> float:
        given = {"retention_prompts": str(neutral), "retention_rows": 2, "num_epochs": 12, "max_steps": 30}
        trainer = LoraTrainer(configure(folder, retention=weight, **given))
        trainer.train()
        return moved(trainer)

    assert trained("with", 5.0) < 0.6 * trained("without", 1e-9)


def test_neutral_rows_are_the_base_models_own_replies(configure: Configure, neutral: Path) -> None:
    trainer = LoraTrainer(
        configure(
            retention=1.0, retention_prompts=str(neutral), retention_under="short_prompt", short_prompt="Be kind."
        )
    )
    rows = trainer.lessons.neutral
    assert rows and len(rows.rendered) == 3
    base, tokenizer = load_model(trainer.config.model_path), load_tokenizer(trainer.config.model_path)
    from tuning_room.records import Message

    asked = [Message(role="user", content="Where is Rome?")]
    prompt = prompt_ids(tokenizer, asked)
    said = base.generate(torch.tensor([prompt]), max_new_tokens=3, do_sample=False)[0, len(prompt) :].tolist()  # type: ignore[operator]
    text = tokenizer.decode(rows.rendered[1].input_ids)
    assert "Be kind." in text and "Where is Rome?" in text
    assert tokenizer.decode(said, skip_special_tokens=True).strip()[:4] in text
    assert moved(trainer) == pytest.approx(moved(trainer)) and moved(trainer) >= 0


def test_every_neutral_row_comes_once_before_one_comes_again() -> None:
    rows = NeutralRows([Rendered([n], [True]) for n in range(5)], [])
    taken = [place for step in range(1, 11) for place in rows.chosen(step, 2, seed=3)]
    for start in range(0, 20, 5):
        assert sorted(taken[start : start + 5]) == [0, 1, 2, 3, 4]
    assert rows.chosen(4, 2, seed=3) == rows.chosen(4, 2, seed=3)


def test_a_file_of_no_prompts_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n  \n", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty.txt: no prompts"):
        read_prompts(empty)
    with pytest.raises(DataError, match="cannot be read"):
        read_prompts(tmp_path / "none.txt")


# --- the last phase


def test_until_the_last_phase_the_memory_holds_one_model(configure: Configure) -> None:
    trainer = LoraTrainer(configure(teacher_prompt=PROMPT, distill=1.0, on_policy_steps=1, on_policy_tokens=4))
    assert trainer.lessons.tops and trainer.lessons.on_policy
    assert "engine" not in vars(trainer.lessons.on_policy.targets)
    trainer.lessons.on_policy.draw(trainer.model, [0], 5)
    assert "engine" in vars(trainer.lessons.on_policy.targets)


def test_the_last_phase_learns_from_the_models_own_replies(configure: Configure) -> None:
    config = configure(
        teacher_prompt=PROMPT,
        sft=0.0,
        on_policy_steps=12,
        on_policy_tokens=6,
        on_policy_rate=1.0,
        on_policy_clip=50,
    )
    trainer = LoraTrainer(config)
    assert trainer.offline_steps == 0 and len(trainer.plan) == 12  # three passes over the rows
    trainer.train()
    assert [metric.rows for metric in trainer.metrics.read()] == [len(rows) for rows in trainer.plan]
    assert all(loss > 0 for loss in losses(trainer))
    said = trainer.lessons.on_policy.draw(trainer.model, [0, 1], 5)  # type: ignore[union-attr]
    again = trainer.lessons.on_policy.draw(trainer.model, [0, 1], 5)  # type: ignore[union-attr]
    assert said.rows == again.rows and all(1 <= sum(row.learned) <= 6 for row in said.rows)
    assert [len(top.ids) for top in said.tops] == [sum(row.learned) for row in said.rows]


def test_the_last_phase_comes_after_the_rows_and_resumes_as_if_uninterrupted(configure: Configure) -> None:
    given: dict[str, Any] = {"teacher_prompt": PROMPT, "on_policy_steps": 3, "on_policy_tokens": 4, "save_steps": 1}
    whole = LoraTrainer(configure("whole", **given))
    whole.train()
    assert len(losses(whole)) == STEPS + 3
    assert whole.metrics.read()[-1].learning_rate == pytest.approx(5e-4)

    def stop(metric: Any, steps: int) -> None:
        if metric.step == STEPS + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LoraTrainer(configure("stopped", on_step=stop, **given)).train()
    resumed = LoraTrainer(configure("stopped", **given))
    resumed.train()
    assert losses(resumed) == losses(whole)
    for name, parameter in resumed.parameters.items():
        assert torch.equal(parameter, whole.parameters[name])
