"""The chat page as a person uses it: by its labels, roles and keys, never by its scripts."""

from playwright.async_api import Locator, Page, expect

from harness.waiting import wait_until

# A turn that a dead process held is taken over when its lease has run out.
TIMEOUT_MS = 40_000

# Every text that the last answer has at any moment, from now on.
_WATCH = """() => {
    const text = () => {
        const answer = [...document.querySelectorAll("#messages article.assistant")].at(-1);
        return [...answer?.querySelectorAll(".body > .text") ?? []].map(one => one.textContent).join("|");
    };
    const seen = window.seenTexts = new Set([text()]);
    const all = { subtree: true, childList: true, characterData: true };
    new MutationObserver(() => seen.add(text())).observe(document.body, all);
}"""


class Chat:
    """One tab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.box = page.get_by_role("textbox", name="Message")
        self.stop_button = page.get_by_role("button", name="Stop", exact=True)
        self.status = page.get_by_role("status")
        # What stands in it may be read aloud beside it, too.
        self.log = page.get_by_role("log")
        self.questions = page.locator("article.user")
        self.answers = page.locator("article.assistant")
        self.conversations = page.get_by_role("navigation", name="Conversations").get_by_role("listitem")

    async def open(self, url: str) -> None:
        await self.page.goto(url)
        await expect(self.box).to_be_visible()

    async def send(self, text: str) -> None:
        """Type it and press Enter, with Shift where it has a line break."""
        await expect(self.box).to_be_focused()  # it is, a moment after a page or a conversation was opened
        for number, line in enumerate(text.split("\n")):
            if number:
                await self.page.keyboard.press("Shift+Enter")
            await self.page.keyboard.type(line)
        await self.page.keyboard.press("Enter")

    def text_of(self, message: Locator) -> Locator:
        """What is said in a message; reasoning and notices are not part of it."""
        return message.locator(".body > .text")

    async def sees_answers(self, *texts: str) -> None:
        """Wait until exactly these answers are there, whole, and none is still being written."""
        answers = self.text_of(self.answers)
        await expect(answers).to_have_text(list(texts), timeout=TIMEOUT_MS)
        await expect(self.stop_button).to_be_hidden(timeout=TIMEOUT_MS)
        await expect(self.page.locator("[aria-busy]")).to_have_count(0)
        # The comparison above does not look at white space. Markdown has none at the ends of a paragraph.
        whole = [text.strip() for text in texts]
        # The log draws the last of it a frame or two behind the end of the turn.
        await wait_until(lambda: self._are(answers, whole), what=f"the answers are {whole}")

    async def _are(self, answers: Locator, whole: list[str]) -> bool:
        return bool(await answers.evaluate_all("all => all.map(one => one.textContent)") == whole)

    async def sees_beginning(self, text: str) -> None:
        """Wait until the last answer is this much, and still being written."""
        last = self.text_of(self.answers.last)
        await expect(last).to_have_text(text, timeout=TIMEOUT_MS)
        await expect(self.answers.last).to_have_attribute("aria-busy", "true")
        await expect(self.stop_button).to_be_visible()

    async def watch_last_answer(self) -> None:
        await self.page.evaluate(_WATCH)

    async def saw_nothing_but_beginnings_of(self, whole: str) -> None:
        """Since it was watched, the last answer was never anything else: no gap, no repeat, not for a moment."""
        seen: list[str] = await self.page.evaluate("[...window.seenTexts]")
        assert len(seen) > 1
        assert [text for text in seen if not whole.startswith(text)] == []

    async def sees_questions(self, *texts: str) -> None:
        await expect(self.text_of(self.questions)).to_have_text(list(texts), timeout=TIMEOUT_MS)

    def tool(self, title: str) -> Locator:
        """The block of a tool call in an answer."""
        return self.page.get_by_role("group", name=f"Tool: {title}", exact=True)

    async def sees_state(self, tool: Locator, state: str) -> None:
        await expect(tool.locator("summary .state")).to_have_text(state, timeout=TIMEOUT_MS)
