//! The supervisor's own program is replaced in place: `roomd upgrade`.
//!
//! ```text
//! upgrade ─► check (the new program, dry) ─► checked ─► stand still ─► exec ═► (new program) take_over ─► arrived ─► reload
//!               └─ no: nothing was touched                        └─ refused: go on ◄── the old one again, if the new one fails
//! ```

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::spawn_local};

use super::{
    Supervisor,
    signals::{Received, Signals},
    takeover::timeline,
};
use crate::{
    command::{Command, CommandError, Reloaded, Reply, Upgraded},
    control,
    inherit::{self, ASKER, Handover, OUTPUT, STATE, WORKER, name_of},
    logging,
    status::ClusterState,
    worker::FromWorker,
};

/// How long what is on its way to or from workers may take, before it is left.
const STANDING_STILL: Duration = Duration::from_secs(2);

/// An upgrade that was asked for.
pub(super) struct Upgrade {
    program: PathBuf,
    asker: OwnedFd,
    reply: Reply<Result<Upgraded, CommandError>>,
}

impl Supervisor {
    /// Asks the new program whether it can take over.
    pub(super) fn upgrade(
        &mut self,
        binary: Option<PathBuf>,
        asker: OwnedFd,
        reply: Reply<Result<Upgraded, CommandError>>,
    ) {
        if let Err(error) = self.busy().and_then(|()| self.can_be_read_anew()) {
            return drop(reply.send(Err(error)));
        }
        let program = binary.unwrap_or_else(|| self.program.path().to_owned());
        tracing::info!(program = %program.display(), "an upgrade: asking whether it can take over");
        let (state, checked, asked) = (self.state_to_leave().encode(), self.checked.clone(), program.clone());
        self.upgrading = Some(Upgrade { program, asker, reply });
        spawn_local(async move { checked.send(inherit::check(&asked, &state).await).await });
    }

    /// The new program reads the configuration, and so would the old one if it had to go on: what a reload refuses to change would
    /// take listeners away from both, or sessions their home.
    fn can_be_read_anew(&self) -> Result<(), CommandError> {
        (self.load)(&self.config).map(drop)
    }

    /// It has answered. Where it can, this process is another program from here on, and this returns only if that fails.
    pub(super) async fn checked(
        &mut self,
        answer: Result<String, String>,
        from_workers: &mut mpsc::Receiver<(roomd_wire::WorkerId, FromWorker)>,
        commands: &mut mpsc::Receiver<Command>,
        signals: &Signals,
    ) {
        let Some(Upgrade { program, asker, reply }) = self.upgrading.take() else { return };
        // Somebody may have edited the file meanwhile.
        let answer = answer.and_then(|version| match self.can_be_read_anew() {
            Ok(()) => Ok(version),
            Err(error) => Err(error.to_string()),
        });
        let result: Result<(), String> = match answer {
            Err(reason) => Err(reason),
            Ok(_) if self.state == ClusterState::Stopping => return drop(reply.send(Err(CommandError::Stopping))),
            Ok(version) => {
                tracing::info!(version, program = %program.display(), "becoming another program");
                self.stand_still(from_workers, commands).await;
                if signals.take_stop() {
                    // The new program would not hear of it.
                    self.balancer.thaw();
                    self.signalled(Received::Stop);
                    return drop(reply.send(Err(CommandError::Stopping)));
                }
                Err(self.execute(program, asker))
            }
        };
        if let Err(reason) = result {
            tracing::error!(reason, "not upgraded");
            drop(reply.send(Err(CommandError::NotUpgraded { reason })));
        }
    }

    /// Until nothing is on its way between this process and its workers but what lies in their sockets.
    async fn stand_still(
        &mut self,
        from_workers: &mut mpsc::Receiver<(roomd_wire::WorkerId, FromWorker)>,
        commands: &mut mpsc::Receiver<Command>,
    ) {
        let until = Instant::now() + STANDING_STILL;
        self.balancer.freeze().await;
        loop {
            // Who asks for something else just now gets an answer.
            while let Ok(command) = commands.try_recv() {
                self.command(command);
            }
            tokio::task::yield_now().await;
            while let Ok((id, event)) = from_workers.try_recv() {
                self.worker_event(id, event);
                self.settle();
            }
            let heard = self.events.capacity() == self.events.max_capacity();
            if (heard && self.workers.values().all(|worker| worker.has_sent_all())) || Instant::now() >= until {
                return;
            }
        }
    }

    /// Becomes the other program. Returns only if that fails, and says why; all is as it was then.
    fn execute(&mut self, program: PathBuf, asker: OwnedFd) -> String {
        self.legacy.changed = true;
        self.leave_word();
        let Some(memory) = &self.legacy.memory else {
            self.balancer.thaw();
            return "the system gives no memory for what is to be passed".into();
        };
        let mut handover = Handover {
            version: env!("CARGO_PKG_VERSION").into(),
            begun_lines: self.workers.iter().map(|(id, worker)| (*id, worker.begun_lines())).collect(),
            ledger: self.figures.ledger.clone(),
            relays: self.relays,
            started: timeline().moment(self.started),
            program: self.program.path().to_owned(),
            connections: self.balancer.carried().into_iter().map(Into::into).collect(),
            ..Handover::default()
        };
        handover.pass(STATE, memory);
        handover.pass(ASKER, &asker);
        for (name, socket) in &self.passing {
            handover.pass(name, socket);
        }
        for (id, worker) in &self.workers {
            handover.pass(name_of(WORKER, *id), &*worker.link);
            for output in &worker.output {
                handover.pass(name_of(OUTPUT, *id), output.as_fd());
            }
        }
        let stopped = self.hub.take().and_then(crate::hub::HubHandle::stop);
        handover.hub = stopped.as_ref().map(|hub| hub.frozen());
        logging::flush();
        let error = handover.execute(&program);
        match stopped.map(|hub| hub.go_on()) {
            Some(Ok(hub)) => self.hub = Some(hub),
            Some(Err(error)) => tracing::error!(%error, "the embedded bus does not go on"),
            None => {}
        }
        self.balancer.thaw();
        format!("cannot execute {}: {error}", program.display())
    }

    /// The takeover is complete, or was waited for long enough: the workers are replaced, and the one who asked is told.
    pub(super) fn arrived(&mut self) {
        let ready =
            |arrival: &mut super::takeover::Arrival| arrival.awaited.is_empty() || arrival.until <= Instant::now();
        let Some(arrival) = self.arrival.take_if(|arrival| ready(arrival)) else { return };
        let (from, to) = (arrival.from, env!("CARGO_PKG_VERSION").to_owned());
        if let Some(reason) = arrival.failed {
            tracing::error!(reason, "not upgraded: the new program could not take over, and the old one goes on");
            if let Some(asker) = arrival.asker {
                spawn_local(control::answer::<Upgraded>(asker, Err(CommandError::NotUpgraded { reason })));
            }
            return;
        }
        tracing::info!(from, to, "upgraded: replacing the workers");
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.reload(1, reply);
        spawn_local(async move {
            let result = match answer.await {
                Ok(Ok(Reloaded { replaced, .. })) => {
                    tracing::info!(replaced, "upgraded and reloaded");
                    Ok(Upgraded { from, to, pid: std::process::id(), replaced })
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "upgraded, but not reloaded");
                    Err(CommandError::NotReloaded { version: to, error: Box::new(error) })
                }
                Err(_ended) => Err(CommandError::Gone),
            };
            if let Some(asker) = arrival.asker {
                control::answer(asker, result).await;
            }
        });
    }

    /// When the takeover has been waited for long enough.
    pub(super) fn arrival_timeout(&self) -> Option<Instant> {
        self.arrival.as_ref().map(|arrival| arrival.until)
    }
}
