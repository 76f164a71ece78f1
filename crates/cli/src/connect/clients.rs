//! Each client's configuration. Their keys were looked up in the clients' own documentation in November 2026;
//! docs/clients.md has the same as a table.
//!
//! Where a client can read the key from the environment, it does, so that the secret stands in no file.

use super::{Client, Guide, Server};
use serde_json::{Value, json};

/// The variable from which clients read the key. Zed makes this name of the provider's, "Picnic".
const KEY: &str = "PICNIC_API_KEY";

/// What stands where nobody gave a key. Clients send no empty one.
const ANY: &str = "no-key";

/// Tokens of a conversation for Zed, which has to be told, where nobody tells.
const CONTEXT: u64 = 32_768;

/// How `client` is configured for `server`.
pub fn guide(client: Client, server: &Server) -> Guide {
    match client {
        Client::Codex => codex(server),
        Client::Claude => claude(server),
        Client::Opencode => opencode(server),
        Client::OpenWebui => open_webui(server),
        Client::Continue => continue_(server),
        Client::Cline => cline(server),
        Client::Zed => zed(server),
    }
}

impl Server<'_> {
    fn v1(&self) -> String {
        format!("{}/v1", self.url)
    }

    fn key(&self) -> &str {
        self.key.unwrap_or(ANY)
    }

    /// How the key gets into the environment.
    fn export(&self) -> String {
        format!("Set the key where the client starts:  export {KEY}={}", self.key())
    }
}

/// A file of its own, laid over the user's config.toml, so that nothing there is to be changed.
fn codex(server: &Server) -> Guide {
    let Server { url, model, context, .. } = server;
    let context = context.map_or(String::new(), |tokens| format!("model_context_window = {tokens}\n"));
    let text = format!(
        r#"model = "{model}"
model_provider = "picnic"
{context}
[model_providers.picnic]
name = "Picnic"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "{KEY}"
"#
    );
    let older = "Before Codex 0.134 there are no such files: there it belongs into ~/.codex/config.toml, where the lines above \
                 [model_providers.picnic] have to come before the first line in brackets.";
    let steps = vec![server.export(), "Start it:  codex --profile picnic".into(), older.into()];
    Guide { place: "~/.codex/picnic.config.toml", text, steps }
}

/// All tiers of models are the one that there is. The client adds `/v1/messages` to the address itself.
fn claude(server: &Server) -> Guide {
    let Server { url, model, .. } = server;
    let text = pretty(&json!({"env": {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": server.key(),
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }}));
    let steps = vec![
        "If the file is there already, add these keys to its `env`. A project's own .claude/settings.json is no place for a \
         key, since others read it."
            .into(),
        "Unset ANTHROPIC_API_KEY, start `claude`, and see by /status that it talks to this address.".into(),
    ];
    Guide { place: "~/.claude/settings.json", text, steps }
}

fn opencode(server: &Server) -> Guide {
    let Server { model, context, .. } = server;
    let mut entry = json!({"name": model});
    if let Some(tokens) = context {
        entry["limit"] = json!({"context": tokens, "output": tokens / 4});
    }
    let text = pretty(&json!({
        "$schema": "https://opencode.ai/config.json",
        "model": format!("picnic/{model}"),
        "provider": {"picnic": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Picnic",
            "options": {"baseURL": server.v1(), "apiKey": format!("{{env:{KEY}}}")},
            "models": {*model: entry},
        }},
    }));
    let steps = vec![server.export(), "Start `opencode`. If it runs already, choose the model with /models.".into()];
    Guide { place: "~/.config/opencode/opencode.json, or opencode.json in a project's folder", text, steps }
}

/// Lines for `--env-file` of a container as much as for a shell.
fn open_webui(server: &Server) -> Guide {
    let text = format!(
        "OPENAI_API_BASE_URL={}\nOPENAI_API_KEY={}\nENABLE_OPENAI_API=true\nENABLE_OLLAMA_API=false\n",
        server.v1(),
        server.key()
    );
    let steps = vec![
        "With Python:  set -a; . ./picnic.env; set +a; open-webui serve".into(),
        "In a container:  docker run -d -p 3000:8080 --env-file picnic.env --add-host=host.docker.internal:host-gateway -v \
         open-webui:/app/backend/data --name open-webui ghcr.io/open-webui/open-webui:main"
            .into(),
        "A container's 127.0.0.1 is not this machine's: there the address is http://host.docker.internal with the port, and \
         `picnic serve` needs a --host that the container reaches."
            .into(),
        "If Open WebUI has run before, what it stored wins: Admin Panel, Settings, Connections, OpenAI API, and enter the two \
         values there."
            .into(),
    ];
    Guide { place: "a file picnic.env", text, steps }
}

fn continue_(server: &Server) -> Guide {
    let Server { model, context, .. } = server;
    let context = context
        .map_or(String::new(), |tokens| format!("    defaultCompletionOptions:\n      contextLength: {tokens}\n"));
    let text = format!(
        r#"name: Picnic
version: 1.0.0
schema: v1
models:
  - name: "{model}"
    provider: openai
    model: "{model}"
    apiBase: "{}"
    apiKey: "{}"
    roles: [chat, edit, apply]
{context}"#,
        server.v1(),
        server.key()
    );
    let steps = vec![
        "If the file is there already, add the entry to its `models`. The model then is in the list below the \
                      chat."
            .into(),
    ];
    Guide { place: "~/.continue/config.yaml", text, steps }
}

/// Cline keeps its settings in the editor's own store, so there is no file to write.
fn cline(server: &Server) -> Guide {
    let context = server.context.map_or(String::new(), |tokens| format!("Context Window Size: {tokens}\n"));
    let text = format!(
        "API Provider: OpenAI Compatible\nBase URL: {}\nAPI Key: {}\nModel ID: {}\n{context}",
        server.v1(),
        server.key(),
        server.model
    );
    let steps = vec![
        "Open Cline's panel, click the gear, and enter these. The context window is under Model \
                      Configuration."
            .into(),
    ];
    Guide { place: "Cline's settings", text, steps }
}

/// The name of the provider decides by which variable the key is found.
fn zed(server: &Server) -> Guide {
    let Server { model, context, .. } = server;
    let capabilities = json!({
        "tools": true, "images": false, "parallel_tool_calls": false, "prompt_cache_key": true, "chat_completions": true,
    });
    let text = pretty(&json!({"language_models": {"openai_compatible": {"Picnic": {
        "api_url": server.v1(),
        "available_models": [{
            "name": model, "display_name": model, "max_tokens": context.unwrap_or(CONTEXT), "capabilities": capabilities,
        }],
    }}}}));
    let steps = vec![
        "The command `zed: open settings file` opens it; if it has `language_models` already, add to that.".into(),
        server.export() + "  (or enter it under Settings, AI, LLM Providers, Picnic)",
        "Then choose the model below the agent's panel.".into(),
    ];
    Guide { place: "Zed's settings.json", text, steps }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use yaml_rust2::YamlLoader;

    const SERVER: Server = Server {
        url: "https://llm.example.org",
        model: "Qwen/Qwen3-8B:q4",
        key: Some("pk-secret"),
        context: Some(4096),
    };

    fn text(client: Client) -> String {
        guide(client, &SERVER).text
    }

    fn as_json(client: Client) -> Value {
        serde_json::from_str(&text(client)).unwrap()
    }

    #[test]
    fn codex_reads_toml() {
        let config: toml::Table = text(Client::Codex).parse().unwrap();
        assert_eq!(config["model"].as_str(), Some(SERVER.model));
        assert_eq!(config["model_context_window"].as_integer(), Some(4096));
        let provider = &config["model_providers"][config["model_provider"].as_str().unwrap()];
        assert_eq!(provider["base_url"].as_str(), Some("https://llm.example.org/v1"));
        assert_eq!(provider["wire_api"].as_str(), Some("responses"));
        assert_eq!(provider["env_key"].as_str(), Some(KEY));
    }

    #[test]
    fn claude_opencode_and_zed_read_json() {
        let env = &as_json(Client::Claude)["env"];
        assert_eq!(env["ANTHROPIC_BASE_URL"], "https://llm.example.org", "the client adds /v1/messages");
        assert_eq!(
            (&env["ANTHROPIC_AUTH_TOKEN"], &env["ANTHROPIC_MODEL"]),
            (&json!("pk-secret"), &json!(SERVER.model))
        );
        assert!(env.as_object().unwrap().values().all(Value::is_string), "variables are texts");

        let config = as_json(Client::Opencode);
        let provider = &config["provider"]["picnic"];
        assert_eq!(config["model"], format!("picnic/{}", SERVER.model));
        assert_eq!(provider["options"]["apiKey"], "{env:PICNIC_API_KEY}");
        assert_eq!(provider["models"][SERVER.model]["limit"], json!({"context": 4096, "output": 1024}));

        let zed = &as_json(Client::Zed)["language_models"]["openai_compatible"]["Picnic"];
        assert_eq!(zed["api_url"], "https://llm.example.org/v1");
        assert_eq!(zed["available_models"][0]["max_tokens"], 4096);
        assert!(zed["available_models"][0]["capabilities"].as_object().unwrap().values().all(Value::is_boolean));
    }

    #[test]
    fn continue_reads_yaml() {
        let config = &YamlLoader::load_from_str(&text(Client::Continue)).unwrap()[0];
        assert_eq!((config["version"].as_str(), config["schema"].as_str()), (Some("1.0.0"), Some("v1")));
        let model = &config["models"][0];
        assert_eq!((model["name"].as_str(), model["model"].as_str()), (Some(SERVER.model), Some(SERVER.model)));
        assert_eq!(model["apiBase"].as_str(), Some("https://llm.example.org/v1"));
        assert_eq!(model["roles"][0].as_str(), Some("chat"));
        assert_eq!(model["defaultCompletionOptions"]["contextLength"].as_i64(), Some(4096));
    }

    #[test]
    fn open_webui_reads_variables_and_cline_is_told() {
        for line in text(Client::OpenWebui).lines() {
            let (name, value) = line.split_once('=').unwrap();
            assert!(
                name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') && !value.contains(' '),
                "{line}"
            );
        }
        assert!(text(Client::Cline).contains("Base URL: https://llm.example.org/v1\n"));
    }

    #[test]
    fn every_client_works_with_the_least() {
        let server = Server { url: "http://127.0.0.1:8000", model: "nano", key: None, context: None };
        for client in Client::value_variants() {
            let Guide { text, steps, .. } = guide(*client, &server);
            assert!(text.contains("nano") || *client == Client::OpenWebui, "{client:?}: {text}");
            assert!(text.contains("127.0.0.1:8000") && !steps.is_empty(), "{client:?}");
            assert!(!text.contains("secret"), "{client:?}");
        }
        serde_json::from_str::<Value>(&guide(Client::Opencode, &server).text).unwrap();
        guide(Client::Codex, &server).text.parse::<toml::Table>().unwrap();
        YamlLoader::load_from_str(&guide(Client::Continue, &server).text).unwrap();
    }
}
