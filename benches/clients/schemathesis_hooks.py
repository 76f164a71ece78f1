"""What schemathesis.sh adds to schemathesis: short answers of the model that is there, and what counts as a failed server."""

import os

import schemathesis

SHORT = 8
LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")


@schemathesis.hook
def map_body(context, body):
    """Keeps valid bodies valid and wrong ones wrong."""
    if isinstance(body, dict):
        if isinstance(body.get("model"), str):
            del body["model"]
        for key in LENGTHS:
            if type(body.get(key)) is int and SHORT < body[key] < 2**63:
                body[key] = SHORT
        if type(body.get("n")) is int and 4 < body["n"] <= 128:
            body["n"] = 4
    return body


@schemathesis.hook
def map_path_parameters(context, parameters):
    """Asks for a model that is there, or a name without a letter for one that is not."""
    name = (parameters or {}).get("name")
    if isinstance(name, str) and any(letter.isascii() and letter.isalnum() for letter in name):
        parameters["name"] = os.environ.get("PICNIC_MODEL", "nano")
    return parameters


@schemathesis.check
def answers_or_says_when(context, response, case):
    """A server may be overloaded if it says when to come back; nothing else is its fault to have."""
    if response.status_code < 500:
        return
    if response.status_code == 503 and "retry-after" in {name.lower() for name in response.headers}:
        return
    raise AssertionError(f"status {response.status_code}: {response.text[:500]}")
