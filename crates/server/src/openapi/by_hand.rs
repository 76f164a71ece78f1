//! Schemas of what has no type of its own in the rooms: parts of requests that are read as plain JSON, and answers that are
//! written as such. Each has a type that stands for it where a field is described.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// For each schema a type by its name, and all of them by [`all`].
macro_rules! by_hand {
    ($($name:ident = $schema:tt;)*) => {
        $(
            #[allow(dead_code)] // some stand in other schemas alone
            pub(crate) enum $name {}

            impl PartialSchema for $name {
                /// Stands for what [`all`] has under this name.
                fn schema() -> RefOr<Schema> {
                    RefOr::T(Schema::default())
                }
            }

            impl ToSchema for $name {}
        )*

        /// All schemas of this file.
        pub(super) fn all() -> Map<String, Value> {
            Map::from_iter([$((stringify!($name).to_owned(), json!($schema)),)*])
        }
    };
}

fn to(name: &str) -> Value {
    super::reference("schemas", name)
}

by_hand! {
    Anything = {};
    AnyObject = {"type": "object"};
    Never = {"type": "null"};
    False = {"enum": [false]};
    JsonSchema = {"type": "object", "description": "A JSON schema."};
    Stops = {"type": "array", "maxItems": 16, "items": {"type": "string", "maxLength": 256}};
    Stop = {"anyOf": [{"type": "string", "maxLength": 256}, to("Stops")]};
    Ids = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": 4294967295u32}};
    LogitBias = {
        "type": "object",
        "description": "By token id, in digits.",
        "additionalProperties": false,
        "patternProperties": {"^[0-9]{1,9}$": {"type": "number", "minimum": -100, "maximum": 100}}
    };
    Prompts = {"anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "maxItems": 256, "items": {"type": "string"}},
        to("Ids"),
        {"type": "array", "minItems": 1, "maxItems": 256, "items": to("Ids")}
    ]};
    EmbeddingInput = {"anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "maxItems": 2048, "items": {"type": "string"}},
        to("Ids"),
        {"type": "array", "minItems": 1, "maxItems": 2048, "items": to("Ids")}
    ]};
    EncodingFormat = {"enum": ["float", "base64"]};
    FormatKind = {"enum": ["text", "json_object", "json_schema"]};
    ThinkingKind = {"enum": ["enabled", "disabled", "auto", "adaptive"]};
    MessagesThinkingKind = {"enum": ["enabled", "disabled", "adaptive"]};

    // Of OpenAI's and DeepSeek's conversations.
    Message = {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": {"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": to("TextPart")}]},
            "reasoning_content": {"type": ["string", "null"], "description": "Also as `reasoning` and `thinking`."},
            "tool_calls": {"type": ["array", "null"], "items": to("ToolCall")},
            "tool_call_id": {"type": ["string", "null"]},
            "name": {"type": ["string", "null"]}
        }
    };
    TextPart = {
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"enum": ["text"]}, "text": {"type": "string"}}
    };
    ToolCall = {
        "type": "object",
        "required": ["function"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "type": {"type": "string", "default": "function"},
            "function": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "arguments": {"description": "JSON, as text or as it is."}}
            }
        }
    };
    Tool = {
        "type": "object",
        "required": ["function"],
        "properties": {
            "type": {"const": "function"},
            "function": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "description": {"type": "string"},
                    "parameters": to("JsonSchema")
                }
            }
        }
    };
    ToolChoice = {"anyOf": [
        {"enum": ["auto", "none", "required", "any"]},
        {
            "type": "object",
            "required": ["function"],
            "properties": {
                "type": {"const": "function"},
                "function": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
            }
        },
        {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    ]};

    // Of OpenAI's responses.
    ResponsesInput = {"anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "maxItems": 4096, "items": to("ResponsesItem")}
    ]};
    ResponsesItem = {
        "description": "Items of other types are passed over.",
        "anyOf": [
            {
                "type": "object",
                "required": ["role"],
                "properties": {
                    "type": {"const": "message"},
                    "role": {"enum": ["user", "assistant", "system", "developer"]},
                    "content": to("ResponsesText")
                }
            },
            {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"const": "reasoning"},
                    "content": to("ResponsesText"),
                    "summary": to("ResponsesText")
                }
            },
            {
                "type": "object",
                "required": ["type", "name"],
                "properties": {
                    "type": {"enum": ["function_call", "custom_tool_call"]},
                    "call_id": {"type": "string"},
                    "name": {"type": "string"},
                    "arguments": {"type": "string"},
                    "input": {"type": "string"}
                }
            },
            {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"enum": ["function_call_output", "custom_tool_call_output"]},
                    "call_id": {"type": "string"},
                    "output": to("ResponsesText")
                }
            }
        ]
    };
    ResponsesText = {"anyOf": [
        {"type": ["string", "null"]},
        {"type": ["object", "number", "boolean"], "description": "Taken as it is written."},
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"enum": ["input_text", "output_text", "reasoning_text", "summary_text", "refusal"]},
                    "text": {"description": "A text."},
                    "refusal": {"description": "A text."}
                }
            }
        }
    ]};
    ResponsesTool = {
        "type": "object",
        "description": "Those of other types are passed over.",
        "required": ["type", "name"],
        "properties": {
            "type": {"enum": ["function", "custom"]},
            "name": {"type": "string", "minLength": 1},
            "description": {"description": "A text for the template."},
            "parameters": to("JsonSchema")
        }
    };
    TextFormat = {"anyOf": [
        {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["text", "json_object"]}}},
        {
            "type": "object",
            "required": ["type", "schema"],
            "properties": {"type": {"const": "json_schema"}, "schema": to("JsonSchema")}
        }
    ]};
    Response = {
        "type": "object",
        "required": ["id", "object", "created_at", "model", "status", "error", "incomplete_details", "output", "usage"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "response"},
            "created_at": {"type": "integer"},
            "model": {"type": "string"},
            "status": {"enum": ["in_progress", "completed", "incomplete", "failed"]},
            "error": {"type": ["object", "null"], "required": ["code", "message"]},
            "incomplete_details": {"type": ["object", "null"], "required": ["reason"]},
            "output": {"type": "array", "items": to("ResponseOutput")},
            "usage": {
                "type": ["object", "null"],
                "required": ["input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"]
            }
        }
    };
    ResponseOutput = {
        "type": "object",
        "required": ["type", "id", "status"],
        "properties": {
            "type": {"enum": ["reasoning", "message", "function_call"]},
            "id": {"type": "string"},
            "status": {"enum": ["in_progress", "completed"]},
            "role": {"const": "assistant"},
            "content": {"type": "array", "items": {"type": "object", "required": ["type", "text"]}},
            "summary": {"type": "array"},
            "call_id": {"type": "string"},
            "name": {"type": "string"},
            "arguments": {"type": "string"}
        }
    };

    // Of Anthropic's messages.
    AnthropicMessage = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"enum": ["user", "assistant", "system", "developer"]},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": to("AnthropicBlock")}]}
        }
    };
    AnthropicBlock = {
        "description": "Blocks of other types are passed over, but for images, documents and search results, which are refused.",
        "anyOf": [
            to("TextPart"),
            {
                "type": "object",
                "required": ["type", "thinking"],
                "properties": {"type": {"const": "thinking"}, "thinking": {"type": "string"}}
            },
            {"type": "object", "required": ["type"], "properties": {"type": {"const": "redacted_thinking"}}},
            {
                "type": "object",
                "required": ["type", "id", "name"],
                "properties": {
                    "type": {"const": "tool_use"},
                    "id": {"type": "string"},
                    "name": {"type": "string"},
                    "input": {"description": "An object, as the tool takes it."}
                }
            },
            {
                "type": "object",
                "required": ["type", "tool_use_id"],
                "properties": {
                    "type": {"const": "tool_result"},
                    "tool_use_id": {"type": "string"},
                    "is_error": {"description": "A boolean; others are ignored."},
                    "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": to("TextPart")}]}
                }
            }
        ]
    };
    AnthropicSystem = {"anyOf": [{"type": "string"}, {"type": "array", "items": to("TextPart")}]};
    AnthropicTool = {
        "type": "object",
        "description": "Those without an `input_schema`, which Anthropic itself would run, are left out.",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "description": {"type": "string"},
            "input_schema": to("JsonSchema")
        }
    };
    AnthropicFormat = {
        "type": "object",
        "required": ["type", "schema"],
        "properties": {"type": {"const": "json_schema"}, "schema": {"type": ["object", "boolean"]}}
    };
    AnthropicToolChoice = {"anyOf": [
        {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"enum": ["auto", "any", "none"]},
                "disable_parallel_tool_use": {"description": "A boolean; others are ignored."}
            }
        },
        {
            "type": "object",
            "required": ["type", "name"],
            "properties": {
                "type": {"const": "tool"},
                "name": {"type": "string"},
                "disable_parallel_tool_use": {"description": "A boolean; others are ignored."}
            }
        }
    ]};
    AnthropicAnswer = {
        "type": "object",
        "required": ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"],
        "properties": {
            "id": {"type": "string"},
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "model": {"type": "string"},
            "content": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["type"],
                    "properties": {
                        "type": {"enum": ["text", "thinking", "tool_use"]},
                        "text": {"type": "string"},
                        "thinking": {"type": "string"},
                        "signature": {"type": "string"},
                        "id": {"type": "string"},
                        "name": {"type": "string"},
                        "input": {}
                    }
                }
            },
            "stop_reason": {"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]},
            "stop_sequence": {"type": ["string", "null"]},
            "usage": {
                "type": "object",
                "required": ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"],
                "additionalProperties": {"type": "integer", "minimum": 0}
            }
        }
    };
    AnthropicError = {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": {"type": "string"}, "message": {"type": "string"}}
            }
        }
    };
    CountedTokens = {
        "type": "object",
        "required": ["input_tokens"],
        "properties": {"input_tokens": {"type": "integer", "minimum": 0}}
    };

    // Of the smaller paths.
    Deleted = {
        "type": "object",
        "required": ["id", "object", "deleted"],
        "properties": {"id": {"type": "string"}, "object": {"const": "response"}, "deleted": {"const": true}}
    };
    InputItems = {
        "type": "object",
        "required": ["object", "data", "first_id", "last_id", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array"},
            "first_id": {"type": ["string", "null"]},
            "last_id": {"type": ["string", "null"]},
            "has_more": {"const": false}
        }
    };
    Tokenized = {
        "type": "object",
        "required": ["count", "max_model_len", "tokens"],
        "properties": {
            "count": {"type": "integer", "minimum": 0},
            "max_model_len": {"type": "integer", "minimum": 0},
            "tokens": {
                "type": "array",
                "items": {"anyOf": [
                    {"type": "integer", "minimum": 0},
                    {
                        "type": "object",
                        "required": ["id", "piece"],
                        "properties": {"id": {"type": "integer", "minimum": 0}, "piece": {"type": ["string", "array"]}}
                    }
                ]}
            },
            "token_strs": {"type": "array", "items": {"type": "string"}}
        }
    };
    Detokenized = {
        "type": "object",
        "required": ["prompt", "content"],
        "properties": {"prompt": {"type": "string"}, "content": {"type": "string"}}
    };
    Infilled = {
        "type": "object",
        "required": ["content", "stop", "stop_type", "model", "tokens_evaluated", "tokens_predicted", "tokens_cached"],
        "properties": {
            "content": {"type": "string"},
            "stop": {"const": true},
            "stop_type": {"enum": ["limit", "eos"]},
            "model": {"type": "string"},
            "tokens_evaluated": {"type": "integer", "minimum": 0},
            "tokens_predicted": {"type": "integer", "minimum": 0},
            "tokens_cached": {"type": "integer", "minimum": 0}
        }
    };
    Balance = {
        "type": "object",
        "required": ["is_available", "balance_infos"],
        "properties": {
            "is_available": {"type": "boolean"},
            "balance_infos": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}}
        }
    };
    Health = {
        "type": "object",
        "required": ["object", "message", "status"],
        "properties": {
            "object": {"const": "health.response"},
            "message": {"type": "string"},
            "status": {"enum": ["live", "ready", "not_ready"]}
        }
    };
    Ok = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}};
    Version = {
        "type": "object",
        "required": ["release", "api"],
        "properties": {"release": {"type": "string"}, "api": {"type": "string"}}
    };
    Metadata = {
        "type": "object",
        "required": ["version", "assetInfo", "licenseInfo", "modelInfo"],
        "properties": {
            "version": {"type": "string"},
            "assetInfo": {"type": "array", "items": {"type": "string"}},
            "licenseInfo": {"type": "object"},
            "modelInfo": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["shortName", "loaded"],
                    "properties": {
                        "shortName": {"type": "string"},
                        "loaded": {"type": "boolean"},
                        "contextLength": {"type": ["integer", "null"]}
                    }
                }
            },
            "repository_override": {"type": "string"}
        }
    };
}
