"""What a schema cannot express: the vocabulary of SmolLM2 has no token for a few control characters."""

import schemathesis


@schemathesis.hook
def filter_failure(context, failure, case, response) -> bool:
    return "has no tokens" not in response.text
