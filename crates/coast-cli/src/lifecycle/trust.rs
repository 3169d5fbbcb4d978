//! `coast trust`: the settings of a Coastfile that the user trusts.

use coast_instance::{
    CoastfileChoice, Demand, LifecycleError, Places, Project, RecordError, TrustQuestion, TrustStore,
};
use serde_json::{Value, json};

use super::{here, println_json, refuse};
use crate::args::trust::TrustArgs;
use crate::output::{Lines, demand_object, shown};

/// `coast trust`
pub(crate) fn trust(args: &TrustArgs) -> anyhow::Result<u8> {
    let store = TrustStore::new(&Places::from_process()?);
    let answered = if args.list {
        list(&store)
    } else if args.revoke {
        revoke(&store, args)
    } else {
        trust_here(&store, args)
    };
    let Answer { text, object } = match answered {
        Ok(answer) => answer,
        Err(error) => return Ok(refuse(&error, args.json)),
    };
    if args.json {
        println_json(&object);
    } else {
        let lines = Lines::new();
        lines.print(&shown(&text));
        lines.flush();
    }
    Ok(0)
}

/// What is printed.
struct Answer {
    text: String,
    object: Value,
}

fn project(args: &TrustArgs) -> Result<Project, LifecycleError> {
    let kind = match args.kind.choice() {
        CoastfileChoice::Typed(kind) => Some(kind),
        CoastfileChoice::Untyped | CoastfileChoice::Remembered => None,
    };
    Ok(Project::find_typed(&here()?, kind.as_ref())?)
}

fn objects(demands: &[Demand]) -> Vec<Value> {
    demands.iter().map(demand_object).collect()
}

fn trust_here(store: &TrustStore, args: &TrustArgs) -> Result<Answer, LifecycleError> {
    let project = project(args)?;
    let kind = project.coastfile.kind.as_ref();
    let demands = Demand::of(&project, None);
    let object = json!({
        "root": project.root.to_string_lossy(), "type": kind, "settings": objects(&demands), "trusted": true,
    });
    let text = if demands.is_empty() {
        store.revoke(&project.root, kind).map_err(RecordError::from)?;
        format!("the settings of {:?} need no trust", project.root)
    } else {
        let trusted = store.of(&project.root, kind).map_err(RecordError::from)?;
        let question = TrustQuestion::of(&project, demands, trusted);
        store.record(&project.root, kind, question.demands.clone()).map_err(RecordError::from)?;
        let command = question.command();
        format!("{question}\nyou trust these settings now; take that back with: {command} --revoke")
    };
    Ok(Answer { text, object })
}

fn revoke(store: &TrustStore, args: &TrustArgs) -> Result<Answer, LifecycleError> {
    let project = project(args)?;
    let kind = project.coastfile.kind.as_ref();
    let existed = store.revoke(&project.root, kind).map_err(RecordError::from)?;
    let object = json!({ "root": project.root.to_string_lossy(), "type": kind, "revoked": existed });
    let text = if existed {
        format!("you do not trust the settings of {:?} any more", project.root)
    } else {
        format!("no settings of {:?} were trusted", project.root)
    };
    Ok(Answer { text, object })
}

fn list(store: &TrustStore) -> Result<Answer, LifecycleError> {
    let all = store.all().map_err(RecordError::from)?;
    let projects: Vec<Value> = all
        .iter()
        .map(|trusted| json!({ "root": trusted.root, "type": trusted.kind, "settings": objects(&trusted.demands), "at": trusted.at }))
        .collect();
    let mut lines = Vec::new();
    for trusted in &all {
        let kind = trusted.kind.as_ref().map(|kind| format!(" (type {kind})")).unwrap_or_default();
        lines.push(format!("{:?}{kind}", &*trusted.root));
        lines.extend(trusted.demands.iter().map(|demand| format!("  {demand}")));
    }
    if lines.is_empty() {
        lines.push("no settings of any project are trusted".to_owned());
    }
    Ok(Answer { text: lines.join("\n"), object: json!({ "projects": projects }) })
}
