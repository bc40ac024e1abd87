"""One search: the model calls tools turn by turn until it answers, or must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.core.question import StopReason
from agents.core.run import Run
from agents.core.tools import ToolResult
from agents.engines.base import Picture, PromptTooLong, Reply, Sampling
from agents.parsing.answers import Sample
from agents.planner.calls import ParsedCall, ParsedReply, answer_in, parse_reply
from agents.planner.conversation import CallFormat, PlannerConversation, task_prompt
from agents.planner.executor import ToolExecutor
from agents.planner.toolbox import Toolbox
from agents.prompts import agentic
from tools.builtin.submit import Submit
from tools.context import ViewLimits

_REPAIRS = 4  # replies that may be neither a call nor an answer
_REPAIR_TEMPERATURE = 0.7  # temperature at which the model writes again what could not be read
_LATE = 0.8  # part of the seconds of a budget after which nothing more is looked for


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How a search is conducted.

    `turns`: replies of the model, the last of which must answer. `calls`: calls that one reply may make. `keep`:
    pictures of earlier turns that stay in the conversation. `replace`: later pictures stand instead of the first look.
    `reanswer`: ask for the answer once more when it has been given, held to the options.
    """

    turns: int
    calls: int = 4
    keep: int = 1024
    replace: bool = False
    reanswer: bool = False


class PlannerLoop:
    """The search of one planner. `answer` is what it found: a sample, as if the question had been asked."""

    def __init__(
        self,
        run: Run,
        toolbox: Toolbox,
        first: Sequence[Picture],
        *,
        way: CallFormat,
        habits: LoopConfig,
        limits: ViewLimits,
        sampling: Sampling,
    ) -> None:
        self.answer: Sample | None = None
        self.stopped: StopReason = "complete"
        self.executor = ToolExecutor(run, toolbox, limits)
        self._run = run
        self._habits = habits
        self._sampling = run.capped(sampling)
        self._left = habits.turns
        self._repairs = 0
        self._called = self._urged = False
        self._conversation = PlannerConversation(way, run.opening, first, task_prompt(run, toolbox, habits.turns, way))

    async def turn(self) -> bool:
        """One reply and what comes of it. Says whether the search is over."""
        self._left -= 1
        reply = None if self._left <= 0 or self._must_end() else await self._reply()
        if reply is None:
            self.answer = await self._concluded()
            return True
        wanted = parse_reply(reply, self.executor.offered, self._run.question)
        self._conversation.hear(wanted.text, () if wanted.truncated else reply.calls)
        if wanted.calls:
            return await self._carry_out(wanted)
        if wanted.answer is not None and not self._urge():
            self.answer = await self._final(reply)
            return True
        if wanted.answer is None:
            self._repair(agentic.CUT_OFF if wanted.truncated else agentic.CALL_OR_ANSWER)
        return False

    async def _carry_out(self, wanted: ParsedReply) -> bool:
        """Carry out the calls of a reply. An answer beside calls does not count: it was given before their results."""
        calls = wanted.calls[: self._habits.calls]
        done = [(call, await self.executor.do(call)) for call in calls]
        submitted = sum(isinstance(result.tool, Submit) for _, result in done)
        self._called = self._called or submitted < len(done)
        if len(done) == submitted == 1 and await self._submit(*done[0]):
            return True
        self._report(done, wanted.calls[len(calls) :])
        return False

    async def _submit(self, call: ParsedCall, result: ToolResult) -> bool:
        """Take an answer; False if it cannot be read, or comes before anything was looked at."""
        said = f"Answer: {result.tool.arguments['answer']}"
        if answer_in(self._run.question, said) is None:
            self._repairs += 1
            return False
        if self._urge(tell=False):
            return False
        self.executor.findings.cite(result.observation)
        self._conversation.report([(call, result)])
        self.answer = await self._final(Reply(said))
        return True

    async def _final(self, said: Reply) -> Sample:
        """The answer as it was given, or as it is given once more."""
        again = await self._concluded() if self._habits.reanswer else None
        return again if again is not None and again.value is not None else self._run.parse(said)

    def _report(self, done: Sequence[tuple[ParsedCall, ToolResult]], left_out: Sequence[ParsedCall]) -> None:
        if self._habits.replace and any(result.pictures for _, result in done):
            self._conversation.replace_first()
        alone = len(done) == 1 and isinstance(done[0][1].tool, Submit)
        hint = (agentic.UNPARSED_ANSWER if self._called else agentic.LOOK_FIRST) if alone else ""
        after = agentic.turns_left(self._left, self._run.question_text) if self._conversation.way != "terse" else ""
        self._conversation.report(done, left_out, "\n".join(each for each in (hint, after) if each))

    async def _reply(self) -> Reply | None:
        """The model's next words; None if there is no room for them and an answer after them."""
        heat = _REPAIR_TEMPERATURE if self._repairs > 1 else self._sampling.temperature
        sampling = self._conversation.sampling(replace(self._sampling, temperature=heat), self.executor.offered)
        if await self._conversation.evict(lambda prompt: self._run.fits(prompt, sampling), most=self._habits.keep):
            self.executor.forget_looks()
        if not self._run.affords(self._conversation.prompt, sampling, times=2):
            self._early("budget: the search ended early, to leave room for an answer")
            return None
        try:
            return await self._run.send(self._conversation.prompt, sampling, "plan")
        except PromptTooLong:
            self._early("context: the search became longer than the model reads")
            return None

    def _early(self, why: str) -> None:
        self._run.usage.add_degradation(why)
        self.stopped = "budget"

    async def _concluded(self) -> Sample:
        """The answer that must be given now: no tools are offered any more."""
        self._conversation.tell(f"{agentic.LAST_TURN} {self._run.instruction}")
        await self._conversation.evict(lambda prompt: self._run.fits(prompt, self._sampling))
        return await self._run.choose_after(self._conversation.prompt)

    def _must_end(self) -> bool:
        seconds = self._run.budget.seconds
        if seconds is not None and self._run.trace.seconds > _LATE * seconds:
            self._early("budget: the search ended early, to leave seconds for an answer")
            return True
        return self.executor.stuck or self._repairs > _REPAIRS

    def _urge(self, tell: bool = True) -> bool:
        """Urge a model once that answers before it has called any tool; says whether it was urged."""
        if self._called or self._urged:
            return False
        self._urged = True
        if tell:
            self._conversation.tell(agentic.LOOK_FIRST)
        return True

    def _repair(self, words: str) -> None:
        self._repairs += 1
        self._conversation.tell(words)
