//! Tests of the command as users run it: exit codes, messages, pipes.
#![allow(clippy::unwrap_used)]

mod kill;
mod learners;
mod runs;
mod weights;

use std::io::{BufRead, Write};
use std::process::{Command, Output, Stdio};

fn mbm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mbm")).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn table(folder: &std::path::Path) -> String {
    let rows: String = (0..60).map(|row| format!("{},{},{}\n", row, ["red", "blue"][row % 2], row * 2)).collect();
    let path = folder.join("rows.csv");
    std::fs::write(&path, format!("size,colour,price\n{rows}")).unwrap();
    path.display().to_string()
}

#[test]
fn train_requires_a_config_or_a_target() {
    let text = stderr(&mbm(&["train", "--dataset", "d.csv"]));
    assert!(text.contains("<--config <CONFIG>|--target <TARGET>>"), "{text}");
}

#[test]
fn exit_codes_distinguish_failure_from_wrong_usage() {
    assert_eq!(mbm(&["--help"]).status.code(), Some(0));
    assert_eq!(mbm(&["train"]).status.code(), Some(2));
    let output = mbm(&["inspect", "nowhere.csv"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "error: nowhere.csv: No such file or directory (os error 2)\n");
}

#[test]
fn config_errors_name_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(
        &config,
        "input_features:\n  - {name: size, type: number}\noutput_features:\n  - {name: price, type: nubmer}\n",
    )
    .unwrap();
    let output = mbm(&["train", "--config", config.to_str().unwrap(), "--dataset", &table(folder.path())]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("line 4: output_features[0].type: unknown type 'nubmer', did you mean 'number'?"), "{text}");
}

#[test]
fn table_given_as_config_is_recognized_and_not_echoed() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = table(folder.path());
    let refused = |config: &str| {
        let output = mbm(&["train", "--config", config, "--dataset", &dataset]);
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    let named = refused(&dataset);
    assert!(named.ends_with("this is a table; did you mean --dataset?\n"), "{named}");
    let renamed = folder.path().join("rows.yaml");
    std::fs::copy(&dataset, &renamed).unwrap();
    let unnamed = refused(renamed.to_str().unwrap());
    assert!(unnamed.contains("found the text 'size,colour,price 0,red,0") && unnamed.contains("--dataset"), "{unnamed}");
    assert!(unnamed.len() < 400, "{unnamed}");
    std::fs::write(&renamed, [0xff, 0xfe, 0]).unwrap();
    assert!(refused(renamed.to_str().unwrap()).contains("not UTF-8 text, so not a config"));
}

#[test]
fn closed_pipe_does_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("rows.csv").display().to_string();
    let rows: String = (0..60).map(|row| format!("{row},same,{}\n", row * 2)).collect();
    std::fs::write(&dataset, format!("size,constant,price\n{rows}")).unwrap();
    let init = ["init", "--dataset", &dataset, "--target", "price"];
    let commands: [&[&str]; 6] =
        [&["completions", "bash"], &["completions", "zsh"], &["--help"], &["--version"], &["inspect", &dataset], &init];
    for args in commands {
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mbm"));
        let status = command.args(args).stdout(closed.try_clone().unwrap()).stderr(closed).status().unwrap();
        assert_eq!(status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn table_without_any_model_column_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (dataset, run) = (table(folder.path()), path("run"));
    let trained = mbm(&[
        "train",
        "--dataset",
        &dataset,
        "--target",
        "price",
        "--output-directory",
        &run,
        "--quiet",
        "--set",
        "trainer.epochs=1",
    ]);
    assert_eq!(trained.status.code(), Some(0), "{}", stderr(&trained));
    let (foreign, out, index) = (path("foreign.csv"), path("out.parquet"), path("index"));
    std::fs::write(&foreign, "Size,price\n1,2\n3,4\n").unwrap();
    let model = ["--model-path", &run, "--dataset", &foreign];
    let over = std::fs::read(&foreign).unwrap();
    for output in [
        mbm(&["predict", "-m", &run, "-d", &foreign, "--output", &foreign]),
        mbm(&["embed", "-m", &run, "-d", &foreign, "-o", &foreign]),
    ] {
        assert_eq!(stderr(&output), format!("error: {foreign} is the dataset itself; choose another file\n"));
        assert_eq!(std::fs::read(&foreign).unwrap(), over);
    }
    let nowhere = path("no-folder/out.csv");
    let output = mbm(&["predict", "-m", &run, "-d", &dataset, "-o", &nowhere]);
    assert!(stderr(&output).starts_with(&format!("error: {nowhere}: No such file")), "{}", stderr(&output));
    let commands: [&[&str]; 4] =
        [&["predict"], &["evaluate"], &["embed", "--output", &out], &["index", "build", "--index", &index]];
    for command in commands {
        let output = mbm(&[command, &model].concat());
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &[][..]), "{command:?}");
        let want = "the dataset has none of the columns that the model reads: size, colour; it has: Size, price. \
                    Rename 'Size' to 'size'?";
        assert!(stderr(&output).contains(want), "{command:?}: {}", stderr(&output));
    }
    let wants = ["error: the dataset has none of the columns", "the dataset has no column 'size', whose cells are absent; r"];
    for (rows, (code, start)) in
        [("{\"sise\": 4}", (1, wants[0])), ("sise\n4\n", (1, wants[0])), ("{\"sise\": 4, \"colour\": \"red\"}", (0, wants[1]))]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mbm"))
            .args(["predict", "--model-path", &run, "--dataset", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(rows.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let told = stderr(&output);
        assert!(told.contains(start) && told.contains("ename 'sise' to 'size'?"), "{told}");
    }
}

#[test]
fn train_from_a_target_alone_then_predict_from_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").display().to_string();
    let dataset = table(folder.path());
    let trained = mbm(&[
        "train",
        "--dataset",
        &dataset,
        "--target",
        "price",
        "--output_directory",
        &run,
        "--set",
        "trainer.epochs=2",
        "--json",
    ]);
    assert_eq!(trained.status.code(), Some(0), "{}", stderr(&trained));
    let events = String::from_utf8(trained.stdout).unwrap();
    let kinds: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((kinds[0].as_str(), kinds.last().unwrap().as_str()), ("stage", "finished"));
    assert!(std::fs::read_to_string(folder.path().join("run/config.yaml")).unwrap().contains("name: price"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_mbm"))
        .args(["predict", "--model-path", &run, "--dataset", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"size\": 4,\n \"colour\": \"red\"}").unwrap();
    let output = child.wait_with_output().unwrap();
    let prediction: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(prediction["status"], "ok");
    assert!(prediction["price_predictions"].is_number());
    let bad = folder.path().join("bad.csv").display().to_string();
    std::fs::write(&bad, "size,colour,price\n4,red,1\nlarge,red,1\n").unwrap();
    for command in ["predict", "evaluate"] {
        let args = [command, "--model-path", &run, "--dataset", &bad];
        assert_eq!(mbm(&args).status.code(), Some(0), "{command}");
        let strict = mbm(&[&args[..], &["--strict"]].concat());
        let message = format!("error: {bad}: row 2, column 'size': malformed: 'large' is not a number (strict)\n");
        assert_eq!((strict.status.code(), stderr(&strict)), (Some(1), message), "{command}");
    }
    let again = mbm(&["train", "--dataset", &dataset, "--target", "price", "--output-directory", &run]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("already holds a run; continue it with --resume"), "{}", stderr(&again));
}

#[test]
fn run_that_failed_before_its_first_step_can_be_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, run, config) =
        (table(folder.path()), folder.path().join("run").display().to_string(), folder.path().join("c.yaml"));
    let train = |column: &str| {
        let text = format!(
            "{{input_features: [{{name: size, type: number}}], output_features: [{{name: {column}, type: number}}], trainer: {{epochs: 1}}}}"
        );
        std::fs::write(&config, text).unwrap();
        mbm(&["train", "--config", config.to_str().unwrap(), "--dataset", &dataset, "--output-directory", &run, "--quiet"])
    };
    let failed = train("prize");
    assert!(stderr(&failed).contains("no column 'prize', did you mean 'price'?"), "{}", stderr(&failed));
    let trained = train("price");
    assert_eq!(trained.status.code(), Some(0), "{}", stderr(&trained));
}

#[test]
fn inspect_describes_tables_and_configs() {
    let folder = tempfile::tempdir().unwrap();
    let output = mbm(&["inspect", &table(folder.path())]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("60 rows, 3 columns") && text.contains("colour  category"), "{text}");
    let config = folder.path().join("c.yaml").display().to_string();
    let init = mbm(&["init", "--dataset", &table(folder.path()), "--target", "colour", "--output", &config]);
    assert_eq!(init.status.code(), Some(0), "{}", stderr(&init));
    let written = String::from_utf8(mbm(&["inspect", &config]).stdout).unwrap();
    assert!(written.contains("name: colour"), "{written}");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let error = stderr(&mbm(&["inspect", empty.to_str().unwrap()]));
    assert!(error.starts_with(&format!("error: {}: no dataset in this folder", empty.display())), "{error}");
    // A run that was killed before its model was written.
    std::fs::write(empty.join("description.json"), "{}").unwrap();
    let error = stderr(&mbm(&["inspect", empty.to_str().unwrap()]));
    assert!(error.contains("the run has not finished, so there is no model yet"), "{error}");
}

#[test]
fn explain_shows_what_each_input_adds_to_the_prediction_of_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, run) = (table(folder.path()), folder.path().join("run").display().to_string());
    let train = ["train", "--dataset", &dataset, "--target", "price", "--output-directory", &run, "--quiet", "--preset", "fast"];
    let trained = mbm(&train);
    assert_eq!(trained.status.code(), Some(0), "{}", stderr(&trained));
    let explain = |more: &[&str]| {
        let output = mbm(&[&["explain", "--model-path", &run, "--dataset", &dataset][..], more].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, shown, error) = explain(&["--rows", "60,1-2"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let rows: Vec<&str> =
        shown.lines().filter_map(|line| line.strip_prefix("row ")?.split_once(": price ")).map(|it| it.0).collect();
    assert_eq!(rows, ["60", "1", "2"]);
    let lines: Vec<&str> = shown.lines().take(3).collect();
    let first = "the input with the largest contribution is first";
    assert!(lines[1].starts_with("  input") && lines[2].starts_with("  size"), "{first}: {shown}");
    let (_, lines, _) = explain(&["--rows", "60", "--json"]);
    let row: serde_json::Value = serde_json::from_str(&lines).unwrap();
    let share = |input: &str| row["contributions"]["price"][input].as_f64().unwrap();
    assert!(row["row"] == 60 && row["price_predictions"].is_number() && share("size") > share("colour"), "{row}");
    let (code, _, error) = explain(&["--rows", "61"]);
    assert_eq!((code, error.as_str()), (Some(1), "error: --rows: there is no row 61; the dataset has 60 rows\n"));
    assert_eq!(explain(&["--rows", "0"]).0, Some(2));
    let header = folder.path().join("header.csv");
    std::fs::write(&header, "size,colour,price\n").unwrap();
    for command in ["evaluate", "explain"] {
        let error = stderr(&mbm(&[command, "--model-path", &run, "--dataset", header.to_str().unwrap()]));
        assert_eq!(error, format!("error: {}: no rows: the dataset has 3 columns and no rows\n", header.display()), "{command}");
    }
    let error = stderr(&mbm(&["train", "--dataset", &dataset, "--target", "price, size"]));
    assert!(error.ends_with("for several targets, repeat the flag: --target price --target size\n"), "{error}");
}

#[test]
fn mistakes_in_settings_of_the_command_line_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, config) = (table(folder.path()), folder.path().join("c.yaml").display().to_string());
    std::fs::write(&config, format!("{LINEAR} trainer: {{epochs: 2}}}}")).unwrap();
    for from in [["--config", &config], ["--target", "price"]] {
        let train = |setting: &str| {
            let run = folder.path().join("run").display().to_string();
            let args = ["train", "--dataset", &dataset, "--output-directory", &run, "--set", setting];
            stderr(&mbm(&[&args[..], &from].concat()))
        };
        let error = train("trainer.epochs=many");
        assert!(error.contains("\n  --set trainer.epochs: ") && !error.contains("line "), "{error}");
        let error = train("input_features.size.encoder=pl");
        assert!(error.contains("\n  --set input_features.size.encoder: type: unknown type 'pl'"), "{error}");
    }
}

const LINEAR: &str = "{input_features: [{name: size, type: number}], output_features: [{name: price, type: number}], combiner: {type: concat, num_fc_layers: 0}, ";

#[test]
fn resume_after_ctrl_c_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, config) = (table(folder.path()), folder.path().join("c.yaml"));
    std::fs::write(&config, format!("{LINEAR} trainer: {{epochs: 3000, batch_size: 8, early_stop: 0}}}}")).unwrap();
    let run = |name: &str| folder.path().join(name).display().to_string();
    let (stopped, whole) = (run("stopped"), run("whole"));
    let train = |run: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mbm"));
        command.args(["train", "--config", config.to_str().unwrap(), "--dataset", &dataset, "--output-directory", run]);
        command
    };
    let mut child = train(&stopped).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut events = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(events.any(|line| line.unwrap().contains("\"event\":\"step\"")), "a step was taken");
    // As from `timeout`, which signals its child and then the process group.
    let twice = format!("kill -INT {0} && sleep 0.02 && kill -INT {0} || true", child.id());
    assert!(Command::new("sh").args(["-c", &twice]).status().unwrap().success());
    let rest: Vec<String> = events.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    assert!(stderr(&output).contains("holds the network trained so far, --resume continues the run"), "{}", stderr(&output));
    assert_eq!(mbm(&["predict", "--model-path", &stopped, "--dataset", &dataset]).status.code(), Some(0));
    let resumed = train(&stopped).args(["--resume", "--quiet"]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert!(resumed.stdout.is_empty() && resumed.stderr.is_empty(), "--quiet prints nothing");
    assert!(train(&whole).arg("--quiet").status().unwrap().success());
    for name in ["model/bundle.json", "model/weights.safetensors", "predictions.parquet"] {
        let bytes = |run: &str| std::fs::read(std::path::Path::new(run).join(name)).unwrap();
        assert_eq!(bytes(&stopped), bytes(&whole), "{name}");
    }
}

#[test]
fn configs_in_yaml_json_and_toml_give_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = table(folder.path());
    let configs = [
        ("c.yaml", format!("{LINEAR} trainer: {{epochs: 2}}}}")),
        ("c.json", "{\"input_features\": [{\"name\": \"size\", \"type\": \"number\"}], \"output_features\": [{\"name\": \"price\", \"type\": \"number\"}], \"combiner\": {\"type\": \"concat\", \"num_fc_layers\": 0}, \"trainer\": {\"epochs\": 2}}".to_owned()),
        ("c.toml", "input_features = [{name = \"size\", type = \"number\"}]\noutput_features = [{name = \"price\", type = \"number\"}]\n[combiner]\ntype = \"concat\"\nnum_fc_layers = 0\n[trainer]\nepochs = 2\n".to_owned()),
    ];
    let bundles = configs.map(|(name, text)| {
        let (config, run) = (folder.path().join(name), folder.path().join(name.replace('.', "-")));
        std::fs::write(&config, text).unwrap();
        let [config, run] = [config, run].map(|path| path.display().to_string());
        let output = mbm(&["train", "--config", &config, "--dataset", &dataset, "--output-directory", &run, "--quiet"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
        std::fs::read(std::path::Path::new(&run).join("model/weights.safetensors")).unwrap()
    });
    assert!(bundles[0] == bundles[1] && bundles[1] == bundles[2]);
}

#[test]
fn closed_pipe_ends_the_command_silently() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mbm"))
        .args(["inspect", &table(folder.path())])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
}

#[test]
fn serve_runs_until_it_is_signaled() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").display().to_string();
    let dataset = table(folder.path());
    let set = ["--set", "trainer.epochs=1", "--quiet"];
    assert!(
        mbm(&[&["train", "--dataset", &dataset, "--target", "price", "--output-directory", &run][..], &set].concat())
            .status
            .success()
    );
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mbm"));
        command.args(["serve", "--model-path", &run, "--port", "0"]).env_remove("MBM_API_KEY").stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let lines = std::io::BufReader::new(server.stdout.take().unwrap()).lines();
        let address =
            lines.map(|line| line.unwrap()).find_map(|line| Some(line.strip_prefix("http://")?.split(' ').next()?.to_owned()));
        (server, address.unwrap())
    };
    for signal in ["-INT", "-TERM"] {
        let (mut server, address) = start();
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        let body = "{\"size\": 3, \"colour\": \"red\"}";
        let head = "POST /predict HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
        write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let answer = std::io::read_to_string(&mut stream).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("price_predictions"), "{answer}");
        assert!(Command::new("kill").args([signal, &server.id().to_string()]).status().unwrap().success());
        assert_eq!(server.wait().unwrap().code(), Some(0), "{signal}");
        assert!(std::net::TcpStream::connect(&address).is_err());
    }
    let (mut server, address) = start();
    let taken = address.rsplit(':').next().unwrap();
    let output = mbm(&["serve", "--model-path", &run, "--port", taken]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("cannot listen on 127.0.0.1:{taken}")), "{}", stderr(&output));
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = mbm(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains("output-directory"), "{shell}");
    }
}

/// Writes a table of deterministic vectors: `row,v`.
fn vectors(folder: &std::path::Path, rows: std::ops::Range<usize>) -> String {
    let vector = |row: usize| (0..16).map(|at| ((row * 16 + at) as f64 * 0.7).sin().to_string()).collect::<Vec<_>>().join(" ");
    let lines: String = rows.clone().map(|row| format!("{row},{}\n", vector(row))).collect();
    let path = folder.join(format!("vectors{}.csv", rows.start));
    std::fs::write(&path, format!("row,v\n{lines}")).unwrap();
    path.display().to_string()
}

fn n_rows(index: &str) -> u64 {
    let output = mbm(&["index", "info", index, "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    info["info"]["n_rows"].as_u64().unwrap()
}

#[test]
fn index_is_built_changed_and_described() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index").display().to_string();
    let from = |rows| ["--embeddings".to_owned(), vectors(folder.path(), rows), "--column".to_owned(), "v".to_owned()];
    let run = |command: &str, more: &[String]| {
        let args: Vec<&str> = ["index", command, "--index", &index].into_iter().chain(more.iter().map(String::as_str)).collect();
        mbm(&args)
    };
    let built = run("build", &from(0..300));
    assert!(built.status.success(), "{}", stderr(&built));
    assert_eq!(String::from_utf8_lossy(&built.stdout), format!("{index}: 300 rows added\n"));
    assert!(stderr(&run("build", &from(0..300))).contains("already exists; choose another folder"));
    assert!(run("add", &from(300..400)).status.success());
    let removed = run("remove", &["--filter".to_owned(), "row < 10".to_owned()]);
    assert_eq!(String::from_utf8_lossy(&removed.stdout), format!("{index}: 10 rows removed\n"));
    assert_eq!(n_rows(&index), 390);
    let asked = mbm(&["search", "--index", &index, "--text", "x"]);
    assert!(stderr(&asked).contains("its vectors came from a file; name the model that made them with --model-path"));
    assert_eq!(stderr(&mbm(&["index", "info", "--index", "nowhere"])), stderr(&mbm(&["index", "info", "nowhere"])));
    assert_eq!(
        stderr(&mbm(&["index", "info", "nowhere"])),
        "error: nowhere: no index found; create one with 'mbm index build'\n"
    );
}

#[test]
fn killed_addition_is_complete_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index").display().to_string();
    let (first, more) = (vectors(folder.path(), 0..500), vectors(folder.path(), 500..1500));
    let built = mbm(&["index", "build", "--index", &index, "--embeddings", &first, "--column", "v"]);
    assert!(built.status.success(), "{}", stderr(&built));
    let add = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mbm"));
        command.args(["index", "add", "--index", &index, "--embeddings", &more, "--column", "v"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let remove = || {
        let removed = mbm(&["index", "remove", "--index", &index, "--filter", "row >= 500"]);
        assert!(removed.status.success(), "{}", stderr(&removed));
    };
    let timed = || {
        let started = std::time::Instant::now();
        assert!(add().wait().unwrap().success());
        let whole = started.elapsed();
        assert_eq!(n_rows(&index), 1500);
        remove();
        whole
    };
    // The first run also brings the program into memory.
    let mut whole = timed().min(timed());
    let mut n_before = n_rows(&index);
    let mut n_killed = 0u32;
    // Fifty moments, spread over the duration of an addition by multiples of the golden ratio.
    for at in 1..=50u32 {
        let mut child = add();
        let delay = whole.mul_f64((f64::from(at) * 0.618_034).fract());
        std::thread::sleep(delay);
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // It finished before the kill, so later moments are chosen earlier.
            whole = whole.min(delay);
        } else {
            n_killed += 1;
        }
        let n_after = n_rows(&index);
        assert!(n_after == n_before || n_after == n_before + 1000, "kill {at}: {n_before}, then {n_after}");
        if n_after > n_before {
            remove();
        }
        n_before = n_rows(&index);
    }
    assert!(n_killed >= 25, "only {n_killed} were killed before they finished");
}
