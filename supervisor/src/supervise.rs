//! The supervise loop: one task that owns the slots and decides.

use tokio::sync::mpsc;

use crate::{
    Cluster,
    command::{Command, CommandError},
};

/// Why a cluster that had started ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// No worker could start, and none had been ready before.
    #[error("no worker can start: {reason}")]
    NoWorkerCanStart {
        /// The worker's own words, or what happened to it.
        reason: String,
    },
}

/// Runs the cluster until it is stopped: by a command or by a signal.
pub async fn run(cluster: Cluster) -> Result<(), SuperviseError> {
    let Cluster { mut commands, .. } = cluster;
    answer(&mut commands).await;
    Ok(())
}

/// Answers until `Stop`.
async fn answer(commands: &mut mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Status(_) => {}
            Command::Reload(reply) => drop(reply.send(Err(CommandError::Busy { what: "the start" }))),
            Command::Scale(_, reply) => drop(reply.send(Err(CommandError::Busy { what: "the start" }))),
            Command::Kill { slot, reply, .. } => drop(reply.send(Err(CommandError::NoSuchSlot { slot, slots: 0 }))),
            Command::Stop(reply) => {
                drop(reply.send(Ok(())));
                return;
            }
        }
    }
}
