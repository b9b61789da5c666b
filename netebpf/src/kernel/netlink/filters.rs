//! TC programs the old way: filters of the clsact queueing discipline, for kernels without TCX (6.6).

use super::{Netlink, NetlinkError};
use crate::kernel::Hook;
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
        NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption},
    },
};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The place of our filters among those of an interface and direction. Fixed, so that the next process
/// finds them again; away from 1 and 49152, which others take when they name none.
const PRIORITY: u32 = 2020;
/// `ETH_P_ALL` in network byte order.
const ALL_PROTOCOLS: u32 = 0x0003_u16.to_be() as u32;

const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const CLSACT_PARENT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };

fn direction(egress: bool) -> TcHandle {
    TcHandle { major: 0xffff, minor: if egress { 0xfff3 } else { 0xfff2 } }
}

fn message(index: u32, handle: TcHandle, parent: TcHandle, info: u32) -> TcMessage {
    let header = TcHeader { index: index as i32, handle, parent, info, ..TcHeader::default() };
    TcMessage::from_parts(header, Vec::new())
}

/// A filter's number within its priority says which program it is.
fn handle(hook: Hook) -> TcHandle {
    (1 + hook as u32).into()
}

fn filter(index: u32, hook: Hook) -> TcMessage {
    message(index, handle(hook), direction(hook.is_egress()), (PRIORITY << 16) | ALL_PROTOCOLS)
}

impl Netlink {
    /// Hangs a program on an interface, or puts it in the place of ours that hangs there: atomically,
    /// no packet goes without a program.
    pub(crate) async fn attach_filter(
        &self,
        index: u32,
        name: &str,
        hook: Hook,
        program: BorrowedFd<'_>,
    ) -> Result<(), NetlinkError> {
        let mut qdisc = message(index, CLSACT, CLSACT_PARENT, 0);
        qdisc.attributes.push(TcAttribute::Kind("clsact".to_owned()));
        let made = self
            .talk(RouteNetlinkMessage::NewQueueDiscipline(qdisc), NLM_F_CREATE | NLM_F_EXCL)
            .await
            .map_err(|error| NetlinkError::new("add clsact to", name, error));
        match made {
            Err(error) if error.is(rustix::io::Errno::EXIST) => {}
            other => other?,
        }
        let mut filter = filter(index, hook);
        filter.attributes.push(TcAttribute::Kind("bpf".to_owned()));
        filter.attributes.push(TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd() as u32)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(hook.program().to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]));
        let request = RouteNetlinkMessage::NewTrafficFilter(filter);
        self.talk(request, NLM_F_CREATE | NLM_F_REPLACE)
            .await
            .map_err(|error| NetlinkError::new("attach a filter to", name, error))
    }

    /// Takes our filter away, and the queueing discipline with the last filter.
    pub(crate) async fn detach_filter(
        &self,
        index: u32,
        name: &str,
        hook: Hook,
    ) -> Result<(), NetlinkError> {
        let request = RouteNetlinkMessage::DelTrafficFilter(filter(index, hook));
        let gone = [rustix::io::Errno::NOENT, rustix::io::Errno::INVAL, rustix::io::Errno::NODEV];
        let tolerant = |result: Result<(), rtnetlink::Error>, what| match result
            .map_err(|error| NetlinkError::new(what, name, error))
        {
            Err(error) if gone.iter().any(|errno| error.is(*errno)) => Ok(()),
            other => other,
        };
        tolerant(self.talk(request, 0).await, "detach a filter from")?;
        for egress in [false, true] {
            if !self.filters(index, egress).await?.is_empty() {
                return Ok(());
            }
        }
        let qdisc = message(index, CLSACT, CLSACT_PARENT, 0);
        tolerant(
            self.talk(RouteNetlinkMessage::DelQueueDiscipline(qdisc), 0).await,
            "remove clsact from",
        )
    }

    /// The program of our filter on an interface, by its id in the kernel.
    pub(crate) async fn attached_filter(
        &self,
        index: u32,
        hook: Hook,
    ) -> Result<Option<u32>, NetlinkError> {
        let filters = self.filters(index, hook.is_egress()).await?;
        let ours = |message: &&TcMessage| {
            message.header.info >> 16 == PRIORITY && message.header.handle == handle(hook)
        };
        Ok(filters.iter().filter(ours).find_map(|message| {
            let options = message.attributes.iter().find_map(|attribute| match attribute {
                TcAttribute::Options(options) => Some(options),
                _ => None,
            })?;
            options.iter().find_map(|option| match option {
                TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
                _ => None,
            })
        }))
    }

    async fn filters(&self, index: u32, egress: bool) -> Result<Vec<TcMessage>, NetlinkError> {
        let mut request = self.handle.traffic_filter(index as i32).get();
        request = if egress { request.egress() } else { request.ingress() };
        let found: Result<Vec<TcMessage>, _> = request.execute().try_collect().await;
        match found.map_err(|error| NetlinkError::new("read filters of", index, error)) {
            // No clsact there.
            Err(error) if error.is(rustix::io::Errno::INVAL) => Ok(Vec::new()),
            other => other,
        }
    }

    async fn talk(&self, request: RouteNetlinkMessage, flags: u16) -> Result<(), rtnetlink::Error> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.clone().request(message)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(rtnetlink::Error::NetlinkError(error));
            }
        }
        Ok(())
    }
}
