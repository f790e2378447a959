"""The kinds of training rows, and what is wrong with a row of each.

A row becomes one of three shapes: `{"messages": [...], "tools": [...]}`, `{"prompt": ..., "completion": ...}` and
`{"text": ...}`.
"""

import json

from reading import DataError

# Names of columns, as the data sets of others have them, and the kind of rows that they make.
KINDS = {
    "chat": [{"messages"}, {"conversations"}],
    "prompt and completion": [{"prompt", "completion"}, {"prompt", "response"}, {"question", "answer"}],
    "instruction": [{"instruction", "output"}],
    "text": [{"text"}],
}
# Roles of the `conversations` of ShareGPT.
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
KNOWN_ROLES = {"system", "developer", "user", "assistant", "tool"}


class RowError(Exception):
    """Why a row cannot be trained on."""


class EmptyAnswer(RowError):
    """There is nothing to learn from the row."""


def kind_of(row: dict) -> tuple[str, frozenset[str]]:
    """The kind of a row, and the columns that say so.

    Raises `DataError` if there is none, or more than one.
    """
    found = [(kind, frozenset(names)) for kind, sets in KINDS.items() for names in sets if names <= row.keys()]
    if len(found) == 1:
        return found[0]
    columns = ", ".join(map(str, row)) or "none"
    known = "; ".join(", ".join(sorted(names)) for sets in KINDS.values() for names in sets)
    what = "no kind of training data has these" if not found else "more than one kind of training data has these"
    raise DataError(f"columns {columns}: {what}. Known are {known}")


def normalized(row: dict, columns: frozenset[str]) -> dict:
    """The row in one of three shapes; `columns` are those of its kind.

    Raises `RowError` if it cannot be trained on.
    """
    missing = columns - row.keys()
    if missing:
        raise RowError(f"no {' and no '.join(sorted(missing))}; it has {', '.join(map(str, row)) or 'nothing'}")
    if columns == {"messages"}:
        return chat(row["messages"], row.get("tools"))
    if columns == {"conversations"}:
        return chat(shared(row["conversations"]), row.get("tools"))
    if columns == {"text"}:
        return {"text": filled(row, "text")}
    if columns == {"instruction", "output"}:
        instruction, given = filled(row, "instruction"), optional(row, "input")
        prompt = f"{instruction}\n\n{given}" if given else instruction
        return {"prompt": prompt, "completion": filled(row, "output"), "system": optional(row, "system")}
    prompt, answer = ("question", "answer") if "question" in columns else ("prompt", *columns - {"prompt"})
    if isinstance(row[prompt], list):
        if not isinstance(row[answer], list):
            raise RowError(f"{prompt} is a list of messages, and {answer} is not")
        return chat(row[prompt] + row[answer], row.get("tools"))
    return {"prompt": filled(row, prompt), "completion": filled(row, answer), "system": optional(row, "system")}


def filled(row: dict, name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise RowError(f"{name} is {shape(value)} and not text")
    if not value.strip():
        raise EmptyAnswer(f"{name} is empty")
    return value


def optional(row: dict, name: str) -> str:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise RowError(f"{name} is {shape(value)} and not text")
    return value or ""


def shared(turns: object) -> list:
    """ShareGPT's turns as messages."""
    if not isinstance(turns, list):
        raise RowError(f"conversations is {shape(turns)} and not a list of turns")
    for turn in turns:
        if not isinstance(turn, dict) or not {"from", "value"} <= turn.keys():
            raise RowError("a turn has no from and value")
    return [{"role": ROLES.get(turn["from"], turn["from"]), "content": turn["value"]} for turn in turns]


def chat(messages: object, tools: object) -> dict:
    if isinstance(messages, str):
        messages = decoded(messages, "messages")
    if not isinstance(messages, list) or not messages:
        raise RowError(f"messages is {shape(messages)} and not a list of messages")
    checked = [message(given, index) for index, given in enumerate(messages, 1)]
    roles = [given["role"] for given in checked]
    # What follows the last answer teaches nothing.
    checked = checked[: len(roles) - roles[::-1].index("assistant")] if "assistant" in roles else checked
    if "assistant" not in roles:
        raise RowError(f"no message is the assistant's; the roles are {', '.join(roles)}")
    if roles[0] == "assistant":
        raise RowError("the first message is the assistant's: there is nothing to answer")
    if not any(
        given["role"] == "assistant" and (given["content"].strip() or given.get("tool_calls")) for given in checked
    ):
        raise EmptyAnswer("the assistant's answer is empty")
    found = {"messages": checked}
    if isinstance(tools, str) and tools.strip():
        tools = decoded(tools, "tools")
    if tools:
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            raise RowError(f"tools is {shape(tools)} and not a list of tools")
        found["tools"] = tools
    return found


def message(given: object, index: int) -> dict:
    if not isinstance(given, dict):
        raise RowError(f"message {index} is {shape(given)} and not an object with role and content")
    role, content = given.get("role"), given.get("content")
    if role not in KNOWN_ROLES:
        raise RowError(f"message {index} has the role {json.dumps(role)}; there are {', '.join(sorted(KNOWN_ROLES))}")
    calls = given.get("tool_calls")
    if content is None and calls:
        content = ""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise RowError(f"message {index} has {shape(content)} as its content, and not text")
    kept = {name: value for name, value in given.items() if value is not None and name not in ("role", "content")}
    return {"role": role, "content": content, **kept}


def decoded(text: str, name: str) -> object:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise RowError(f"{name} is text and not JSON") from None


def shape(value: object) -> str:
    names = {type(None): "null", str: "text", list: "a list", dict: "an object", bool: "true or false"}
    if value == []:
        return "an empty list"
    return names.get(type(value), "a number")
