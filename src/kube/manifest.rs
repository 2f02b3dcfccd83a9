//! A whole manifest: several documents, lists of objects, every pod in them. Text in, text out.

use std::rc::Rc;

use serde_json::Value;

use super::annotation::{self, PREFIX};
use super::edit::{self, Edit, Path, Refusal, Remark, way};
use super::plan::{Operator, plan};
use super::splice::{Page, Splice, apply, find};
use super::yaml::{self, Node};
use super::{remove, shape, view};
use crate::agent::reason::{Reason, Report};

mod said;

use said::{astray, called, knative, nearest_line, rendered_first, unreadable, unrendered};

/// What to do with a manifest.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The operator's choices.
    pub operator: &'a Operator,
    /// Where kinds that nobody knows have their pod template.
    pub templates: &'a [(String, Vec<String>)],
    /// Whether to take an injection back.
    pub remove: bool,
}

/// What became of a manifest.
#[derive(Debug, Default)]
pub struct Done {
    /// The whole text, with the edits in it.
    pub text: String,
    /// What is weaker than it could be.
    pub remarks: Vec<Report>,
}

/// Edits a manifest. `name` is what messages call it; every reason against it is told at once.
pub fn edit(name: &str, text: &str, options: &Options<'_>) -> Result<Done, Vec<Report>> {
    // What says nothing to us is not even read: it may be no YAML yet.
    if !text.contains(PREFIX) {
        return Ok(Done { text: text.to_owned(), remarks: Vec::new() });
    }
    let roots = yaml::parse(text).map_err(|error| vec![unreadable(name, text, &error)])?;
    let mut work = Work {
        name,
        options,
        page: Page::new(text),
        splices: Vec::new(),
        remarks: Vec::new(),
        refusals: Vec::new(),
    };
    for root in &roots {
        work.document(root);
    }
    if !work.refusals.is_empty() {
        return Err(work.refusals);
    }
    work.splices.sort_by_key(|(splice, depth)| (splice.start, std::cmp::Reverse(*depth)));
    let splices: Vec<Splice> = work.splices.into_iter().map(|(splice, _)| splice).collect();
    Ok(Done { text: apply(text, &splices), remarks: work.remarks })
}

/// The documents of a manifest as plain JSON, as an API server would get them.
pub fn views(text: &str) -> Result<Vec<Value>, yaml::Unreadable> {
    let roots = yaml::parse(text)?;
    Ok(roots.iter().filter_map(|root| view::of(root)).collect())
}

struct Work<'a> {
    name: &'a str,
    options: &'a Options<'a>,
    page: Page<'a>,
    /// With the depth of what they change: at one place what lies deeper comes first.
    splices: Vec<(Splice, usize)>,
    remarks: Vec<Report>,
    refusals: Vec<Report>,
}

/// An object of a document.
struct Object<'a> {
    root: &'a Node,
    /// Where it is in the document.
    at: Path,
    view: &'a Value,
}

impl Work<'_> {
    fn document(&mut self, root: &Rc<Node>) {
        let text = self.page.text.get(root.start..root.end).unwrap_or_default();
        if !text.contains(PREFIX) {
            return;
        }
        if let Some(line) = unrendered(root) {
            self.refusals.push(rendered_first(&format!("{}:{line}", self.name)));
            return;
        }
        let Some(whole) = view::of(root) else {
            let place = format!("{}:{}", self.name, root.line);
            self.refusals.push(
                Report::new(
                    Reason::ConfigInvalid,
                    format!("{place}: can't read this document"),
                    "a key is no text or stands twice, or its aliases grow beyond all measure",
                )
                .hint("write every key once"),
            );
            return;
        };
        for at in shape::objects(&whole) {
            if let Some(view) = shape::look(&whole, &at) {
                self.object(&Object { root, at, view });
            }
        }
    }

    fn object(&mut self, object: &Object<'_>) {
        let annotated = shape::annotated(object.view);
        if annotated.is_empty() {
            return;
        }
        let templates = shape::templates(object.view, self.options.templates);
        let pods: Vec<Path> =
            templates.iter().map(|pod| [pod.clone(), annotation::place()].concat()).collect();
        for at in annotated.iter().filter(|at| !pods.contains(at)) {
            self.refuse(object, &astray(object.view, at, &templates));
        }
        for pod in templates {
            let here = [object.at.clone(), pod.clone()].concat();
            let Some(view) = shape::look(object.view, &pod) else { continue };
            let result = if self.options.remove {
                self.take_back(object, &here, view)
            } else {
                self.inject(object, &here, view)
            };
            for refusal in result.err().into_iter().flatten() {
                self.refuse(object, &refusal.beneath(&pod));
            }
        }
    }

    fn inject(&mut self, object: &Object<'_>, at: &Path, pod: &Value) -> Result<(), Vec<Refusal>> {
        let plan = plan(pod, shape::kind(object.view), self.options.operator)?;
        self.set_dash(object.root, at);
        let mut overwritten = Vec::new();
        for (number, edit) in plan.edits.iter().enumerate() {
            if let Some(was) = self.splice(object.root, at, edit)? {
                overwritten.push((number, was));
            }
        }
        if !plan.edits.is_empty() {
            self.keep_original(object.root, at, pod, &plan.edits, overwritten)?;
            if shape::kind(object.view) == "Service" && at.len() > object.at.len() {
                let remark = knative();
                self.remark(object, &remark);
            }
        }
        let place = at.get(object.at.len()..).unwrap_or_default();
        for remark in plan.remarks {
            self.remark(object, &remark.beneath(place));
        }
        Ok(())
    }

    /// Splices an edit of the pod at `at`; gives what it overwrites.
    fn splice(
        &mut self,
        root: &Node,
        at: &Path,
        edit: &Edit,
    ) -> Result<Option<String>, Vec<Refusal>> {
        let here = edit.clone().beneath(at);
        let spliced = self.page.splice(root, &here);
        let (splice, was) = spliced.map_err(|mut refusal| {
            refusal.at.clone_from(edit.at());
            vec![refusal]
        })?;
        self.splices.push((splice, here.at().len()));
        Ok(was)
    }

    fn keep_original(
        &mut self,
        root: &Node,
        at: &Path,
        pod: &Value,
        edits: &[Edit],
        mut overwritten: Vec<(usize, String)>,
    ) -> Result<(), Vec<Refusal>> {
        let before = pod.pointer("/metadata/annotations").and_then(|a| a.get(annotation::ORIGINAL));
        let before = before.and_then(Value::as_str);
        let text = |overwritten: &[(usize, String)], edits: &[Edit], before| {
            Value::String(edit::original(pod, edits, overwritten, before))
        };
        if before.is_none() {
            let key = annotation::ORIGINAL.to_owned();
            let value = text(&overwritten, edits, None);
            let edit = Edit::Key { at: annotation::place(), key, value };
            return self.splice(root, at, &edit).map(drop);
        }
        let place = annotation::at("original");
        // What an annotation says is believed only of a pod that has our containers.
        let is_real = super::plan::has_ours(pod);
        let mut all = edits.to_vec();
        if !is_real {
            let node = find(root, &[at.clone(), place.clone()].concat()).map_err(|r| vec![r])?;
            let was = node.key.and_then(|key| self.page.behind_colon(key, node.node));
            let was =
                was.and_then(|(start, end)| self.page.text.get(start..end)).unwrap_or_default();
            overwritten.push((all.len(), was.to_owned()));
            all.push(Edit::Value { at: place.clone(), value: Value::Null });
        }
        let value = text(&overwritten, &all, before.filter(|_| is_real));
        self.splice(root, at, &Edit::Value { at: place, value }).map(drop)
    }

    fn take_back(
        &mut self,
        object: &Object<'_>,
        at: &Path,
        pod: &Value,
    ) -> Result<(), Vec<Refusal>> {
        let annotations = pod.pointer("/metadata/annotations");
        let original =
            annotations.and_then(|a| a.get(annotation::ORIGINAL)).and_then(Value::as_str);
        let Some(original) = original else { return Ok(()) };
        let node = find(object.root, at).map_err(|refusal| vec![refusal])?.node;
        let splices =
            remove::splices(&self.page, node, original).map_err(|refusal| vec![refusal])?;
        self.splices.extend(splices.into_iter().map(|splice| (splice, 0)));
        Ok(())
    }

    /// New lists are written as the pod's containers are.
    fn set_dash(&mut self, root: &Node, pod: &Path) {
        let at = [pod.clone(), way!["spec", "containers"]].concat();
        let found = find(root, &at).ok();
        let dash = found.and_then(|place| self.page.dash_at(place.key?, place.node));
        self.page.dash = dash.filter(|dash| *dash <= 8).unwrap_or(0);
    }

    fn refuse(&mut self, object: &Object<'_>, refusal: &Refusal) {
        let report = self.report(object, refusal);
        self.refusals.push(report);
    }

    fn remark(&mut self, object: &Object<'_>, remark: &Remark) {
        let report = self.report(object, remark);
        if !self.remarks.contains(&report) {
            self.remarks.push(report);
        }
    }

    fn report(&self, object: &Object<'_>, refusal: &Refusal) -> Report {
        let line = nearest_line(object.root, &[object.at.clone(), refusal.at.clone()].concat());
        let what = format!("{}:{line}: {}: {}", self.name, called(object.view), refusal.what);
        Report::new(Reason::ConfigInvalid, what, refusal.why.as_str()).hint(refusal.hint.as_str())
    }
}
