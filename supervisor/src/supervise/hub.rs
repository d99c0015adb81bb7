//! The embedded bus's hub, where that is the bus.

use std::os::fd::OwnedFd;

use roomd_wire::BusConfig;

use super::{SuperviseError, system};
use crate::hub::{FrozenHub, Hub, HubEvent, HubEvents, HubHandle};

/// Starts the hub, or lets one go on that stood still; none where the bus is another.
pub(super) fn start_hub(
    bus: &BusConfig,
    frozen: Option<FrozenHub<OwnedFd>>,
) -> Result<(Option<HubHandle>, OptionalHubEvents), SuperviseError> {
    match bus {
        BusConfig::Embedded => {
            let hub = frozen.map_or_else(Hub::start, Hub::restore);
            let (hub, events) = hub.map_err(system("start the embedded bus"))?;
            Ok((Some(hub), OptionalHubEvents(Some(events))))
        }
        BusConfig::Redis { .. } => Ok((None, OptionalHubEvents(None))),
    }
}

/// The hub's events, or none for ever where there is no hub.
pub(super) struct OptionalHubEvents(Option<HubEvents>);

impl OptionalHubEvents {
    pub(super) async fn next(&mut self) -> Option<HubEvent> {
        match &mut self.0 {
            Some(events) => events.next().await,
            None => None,
        }
    }
}
