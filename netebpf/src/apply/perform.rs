//! One step, on the kernel.

use super::{Journal, StepError};
use crate::{
    kernel::{Kernel, KernelError, sysctl},
    plan::Action,
};

/// Performs a step.
pub(super) async fn perform(
    kernel: &mut Kernel,
    action: &Action,
    journal: &mut dyn Journal,
) -> Result<Performed, StepError> {
    match step(kernel, action, journal).await {
        Ok(Performed::Done) => {
            kernel.follow(action);
            if let Action::Publish(changes) = action
                && changes.all().any(|change| change.earlier.is_some())
            {
                kernel.end_misled_flows().await.inspect_err(|_| kernel.look_again())?;
            }
            Ok(Performed::Done)
        }
        Ok(Performed::Refused(note)) => {
            // Not every command prints what it hears.
            tracing::warn!("{note}");
            Ok(Performed::Refused(note))
        }
        Err(error) => {
            // It may have got half-way.
            kernel.look_again();
            Err(error)
        }
    }
}

/// How a step ended.
pub(super) enum Performed {
    Done,
    /// It can be done without; what there is to say of it.
    Refused(String),
}

async fn step(
    kernel: &mut Kernel,
    action: &Action,
    journal: &mut dyn Journal,
) -> Result<Performed, StepError> {
    match action {
        Action::DiscardPins { .. } | Action::Unload => kernel.unload()?,
        Action::LoadPrograms { .. } => kernel.load()?,
        Action::SaveSysctl { name, value } => journal.save_sysctl(name, value)?,
        Action::SetSysctl { name, value, earlier, save } => {
            if let (true, Some(earlier)) = (save, earlier) {
                journal.save_sysctl(name, earlier)?;
            }
            // An interface that was just made may lack what one of another kernel has.
            if earlier.is_some() || sysctl::read(name)?.is_some() {
                sysctl::write(name, value)?;
            }
        }
        Action::RestoreSysctl { name, value } => {
            // With an interface its sysctls are gone.
            if sysctl::read(name)?.is_some() {
                sysctl::write(name, value)?;
            }
            journal.forget_sysctl(name)?;
        }
        Action::CreateBridge(spec) => kernel.create_bridge(spec).await?,
        Action::ChangeLink { index, name, change, .. } => {
            kernel.change_link(*index, name, change).await?;
        }
        Action::SetAddress { index, address, present, .. } => {
            kernel.set_address(*index, *address, *present).await?;
        }
        Action::CreateNamespace { path } => kernel.create_namespace(path)?,
        Action::CreatePair { spec, namespace } => kernel.create_pair(spec, namespace).await?,
        Action::Configure(spec) => spec.configure()?,
        Action::SetInterface { new, earlier, .. } => kernel.set_interface(*new, *earlier)?,
        Action::SetEndpoint { address, new, .. } => kernel.set_endpoint(*address, *new)?,
        Action::SetNetwork { prefix, new, .. } => kernel.set_network(*prefix, *new)?,
        Action::SetSource { range, present } => kernel.set_source(range, *present)?,
        Action::Publish(changes) => kernel.publish(changes)?,
        Action::SetHostAddresses { added, removed } => kernel.set_host_addresses(added, removed)?,
        Action::Attach { index, name, hook, mechanism, replaces } => {
            match kernel.attach(*index, name, *hook, *mechanism).await {
                Err(KernelError::Bpf(error)) if hook.is_optional() && error.is_refusal(*hook) => {
                    if *replaces {
                        // An earlier version's program must not stay before what it does not know.
                        kernel.detach(*index, name, *hook, *mechanism).await?;
                    }
                    let why = kernel.remember_refusal(*index, *hook, *mechanism, &error);
                    return Ok(Performed::Refused(format!("{name}: no {mechanism}: {why}")));
                }
                attached => attached?,
            }
        }
        Action::Detach { index, name, hook, mechanism } => {
            kernel.detach(*index, name, *hook, *mechanism).await?;
        }
        Action::RemovePin { path } => kernel.remove_pin(path)?,
        Action::ForgetOldPrograms => kernel.forget_old_programs()?,
        Action::DeleteLink { name, .. } => kernel.delete_link(name).await?,
        Action::RemoveNamespace { path } => kernel.remove_namespace(path)?,
    }
    Ok(Performed::Done)
}
