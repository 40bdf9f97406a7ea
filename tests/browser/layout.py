"""What is wrong with how a page is set: units that part from their figures, tables that are cut."""

from __future__ import annotations

from playwright.sync_api import Page

#: A figure and its unit with a space between them at which a line may end; and what is cut off at
#: a table's edge, beyond which a telephone's screen shows nothing.
LOOK = r"""() => {
  const found = [];
  const latin = "ms|s|min|h|d|%|px|[kKMG]?i?B|/s|images/s", chinese = "张/秒|小时|分钟|秒|天";
  const units = new RegExp(`[\\d.]+ (?:${latin}|${chinese})(?!\\w)`, "g");
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement: holder } = texts.currentNode;
    if (holder.closest("script, style, pre, svg, select, #swagger-ui")) continue;
    if (!holder.checkVisibility() || getComputedStyle(holder).textWrapMode === "nowrap") continue;
    for (const [said] of data.matchAll(units)) found.push(`"${said}" may be parted in "${data}"`);
  }
  for (const table of document.querySelectorAll(".ds-table")) {
    if (!table.checkVisibility() || table.scrollWidth <= table.clientWidth + 1) continue;
    found.push(`${table.scrollWidth} px on ${table.clientWidth}: ${table.innerText.slice(0, 80)}`);
  }
  return found;
}"""


def faults(page: Page) -> list[str]:
    """Each of them, of what is seen now."""
    return list(page.evaluate(LOOK))
