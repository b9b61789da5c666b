//! Performing plans: all of it or nothing.
//!
//! **Invariant**: a plan that fails half-way is taken back, in reverse, before the error is reported. What
//! a plan removes it removes first where it stands in the way and last where it does not, and what was
//! removed is not remembered here: whoever wants it back reconciles with what was desired before.
//! Taking down goes on after a failure and returns the list.

mod perform;

use crate::{
    kernel::{Hook, Kernel, KernelError},
    model::Desired,
    plan::{self, Action, Plan, PlanError},
};
use perform::{Performed, perform};
use std::{collections::BTreeMap, fmt, io};

/// Where values of sysctls from before our changes are kept: in the state, on disk before the change.
pub trait Journal: Send + Sync {
    /// All that are kept, by their path below `/proc/sys`.
    fn saved_sysctls(&self) -> BTreeMap<String, String>;
    /// Keeps one; returns when it is on disk. One that is kept already stays as it is.
    fn save_sysctl(&mut self, name: &str, value: &str) -> io::Result<()>;
    /// Forgets one.
    fn forget_sysctl(&mut self, name: &str) -> io::Result<()>;
}

/// What a plan did.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Report {
    /// The steps, in order; each reads as a sentence.
    pub actions: Vec<Action>,
    /// What could not be had, and could be done without.
    pub notes: Vec<String>,
}

/// The host does not match what is desired.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot: nothing was changed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kernel could not be read: nothing was changed.
    #[error("read what the kernel has: {0}")]
    Observe(#[source] KernelError),
    /// A step failed; what came before it was taken back, but for what `left` lists.
    #[error("{action}: {source}{left}")]
    Step {
        /// The step.
        action: Box<Action>,
        /// Why it failed.
        source: StepError,
        /// What could not be taken back.
        left: Left,
    },
    /// Somebody asked for XDP, and no uplink takes it; what was done was taken back, but for what `left` lists.
    #[error("XDP runs at no uplink: {}; --xdp off leaves everything to TC{left}", .why.join("; "))]
    NoXdp {
        /// What each driver said.
        why: Vec<String>,
        /// What could not be taken back.
        left: Left,
    },
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An earlier value could not be written down, so it was not changed.
    #[error("write down the earlier value: {0}")]
    Journal(#[from] io::Error),
    /// A driver refused a program that can be done without.
    #[error("{0}")]
    Refused(String),
}

impl From<crate::kernel::SysctlError> for StepError {
    fn from(error: crate::kernel::SysctlError) -> Self {
        Self::Kernel(error.into())
    }
}

/// Steps that could not be taken back.
#[derive(Debug, Default)]
pub struct Left(pub Vec<(Action, StepError)>);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (action, error) in &self.0 {
            write!(f, "; then {action}: {error}")?;
        }
        Ok(())
    }
}

/// Plans how to make the host match `desired`, and changes nothing.
pub async fn prepare(
    kernel: &mut Kernel,
    desired: &Desired,
    journal: &dyn Journal,
) -> Result<Plan, ApplyError> {
    let observed =
        kernel.observe(desired, journal.saved_sysctls()).await.map_err(ApplyError::Observe)?;
    if let Ok(plan) = plan::plan(desired, &observed) {
        return Ok(plan);
    }
    // What stood in the way may be gone from where only a look tells.
    kernel.look_again();
    let observed =
        kernel.observe(desired, journal.saved_sysctls()).await.map_err(ApplyError::Observe)?;
    Ok(plan::plan(desired, &observed)?)
}

/// Makes the host match `desired`.
pub async fn reconcile(
    kernel: &mut Kernel,
    desired: &Desired,
    journal: &mut dyn Journal,
) -> Result<Report, ApplyError> {
    let plan = prepare(kernel, desired, journal).await?;
    execute(kernel, plan, journal).await
}

/// Performs a plan that was just made.
pub async fn execute(
    kernel: &mut Kernel,
    plan: Plan,
    journal: &mut dyn Journal,
) -> Result<Report, ApplyError> {
    let Plan { actions, mut notes, asks_for_xdp } = plan;
    let brings_xdp =
        |action: &Action| matches!(action, Action::Attach { hook: Hook::UplinkXdp, .. });
    let last_of_xdp = actions.iter().rposition(brings_xdp).filter(|_| asks_for_xdp);
    let (mut done, mut without_xdp) = (Vec::new(), Vec::new());
    for (position, action) in actions.into_iter().enumerate() {
        tracing::debug!(%action);
        match perform(kernel, &action, journal).await {
            Ok(Performed::Done) => done.push(action),
            Ok(Performed::Refused(note)) => {
                if brings_xdp(&action) {
                    without_xdp.push(note.clone());
                }
                // One is enough of programs that hang in one place and were refused for one reason.
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
            Err(source) => {
                // The step itself may have got half-way, so it is taken back too.
                done.push(action.clone());
                let left = take_back(kernel, &done, journal).await;
                return Err(ApplyError::Step { action: Box::new(action), source, left });
            }
        }
        // Now, when nothing is made yet but what uplinks have.
        if last_of_xdp == Some(position) && !without_xdp.is_empty() && !kernel.has_xdp() {
            let left = take_back(kernel, &done, journal).await;
            kernel.look_again();
            return Err(ApplyError::NoXdp { why: without_xdp, left });
        }
    }
    kernel.settle();
    Ok(Report { actions: done, notes })
}

async fn take_back(kernel: &mut Kernel, done: &[Action], journal: &mut dyn Journal) -> Left {
    let mut left = Left::default();
    for undo in done.iter().rev().filter_map(Action::undo) {
        let problem = match perform(kernel, &undo, journal).await {
            Ok(Performed::Done) => continue,
            Ok(Performed::Refused(why)) => StepError::Refused(why),
            Err(error) => error,
        };
        left.0.push((undo, problem));
    }
    left
}

/// Takes away everything of the instance; what failed is listed, and the rest is gone.
pub async fn teardown(kernel: &mut Kernel, journal: &mut dyn Journal) -> Vec<ApplyError> {
    kernel.look_again();
    match prepare(kernel, &Desired::default(), journal).await {
        Ok(plan) => perform_all(kernel, &plan.actions, journal).await,
        Err(error) => vec![error],
    }
}

async fn perform_all(
    kernel: &mut Kernel,
    actions: &[Action],
    journal: &mut dyn Journal,
) -> Vec<ApplyError> {
    let mut errors = Vec::new();
    for action in actions {
        if let Err(source) = perform(kernel, action, journal).await {
            let (action, left) = (Box::new(action.clone()), Left::default());
            errors.push(ApplyError::Step { action, source, left });
        }
    }
    errors
}

/// What is there and not accounted for by `desired`: the steps that would take it away.
pub async fn orphans(
    kernel: &mut Kernel,
    desired: &Desired,
    journal: &dyn Journal,
) -> Result<Vec<Action>, ApplyError> {
    kernel.look_again();
    let Plan { mut actions, .. } = prepare(kernel, desired, journal).await?;
    actions.retain(Action::is_removal);
    Ok(actions)
}

/// Takes away what `desired` does not account for; returns what went and what could not.
pub async fn collect(
    kernel: &mut Kernel,
    desired: &Desired,
    journal: &mut dyn Journal,
) -> Result<(Vec<Action>, Vec<ApplyError>), ApplyError> {
    let actions = orphans(kernel, desired, journal).await?;
    let errors = perform_all(kernel, &actions, journal).await;
    Ok((actions, errors))
}
