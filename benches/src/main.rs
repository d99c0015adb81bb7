//! Runs the scenarios one after another and prints a table of ratios.

use std::{io, process::ExitCode, time::Duration};

use clap::Parser;
use roomd_benches::{
    scenario::{
        connect, deflate,
        fanout::{self, Offer},
        memory, typed,
    },
    server::Server,
};

/// Measures roomd side by side with programs that do the least that could be done. Talks to this machine only.
#[derive(Parser)]
struct Arguments {
    /// What to measure; all by default.
    #[arg(value_parser = ["fanout", "typed", "memory", "connect", "deflate"])]
    only: Vec<String>,
    /// Clients of the fan-out.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Sizes of the fan-out's rooms.
    #[arg(long, value_delimiter = ',', default_value = "2,50,1000")]
    rooms: Vec<usize>,
    /// Seconds for each fan-out measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Workers of the cluster.
    #[arg(long, default_value_t = 2)]
    workers: u16,
    /// Connections of the memory measurement.
    #[arg(long, value_delimiter = ',', default_value = "5000,10000")]
    connections: Vec<usize>,
}

const PACED: Offer = Offer::Paced { deliveries: 20_000 };
const SATURATED: Offer = Offer::Saturated { outstanding: 20_000 };

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    if wanted("fanout") {
        fan_out(arguments)?;
    }
    if wanted("typed") {
        types(arguments)?;
    }
    if wanted("memory") {
        let server = Server::roomd(arguments.workers)?;
        let memory = memory::measure(&server, &arguments.connections, false)?;
        println!("\nmemory (PSS over all processes) per idle WebSocket");
        for (connections, bytes) in memory.at {
            println!("{connections:>8} connections {:>8.2} KiB", bytes / 1024.0);
        }
        println!("     after churn      {:>8.2} KiB", memory.after_churn / 1024.0);
    }
    if wanted("connect") {
        println!("\nserver CPU per new connection (connect, upgrade, join)");
        let cluster = connect::measure(&Server::roomd(arguments.workers)?, 1000, 20)?.as_secs_f64() * 1e6;
        let single = connect::measure(&Server::single()?, 1000, 20)?.as_secs_f64() * 1e6;
        println!("through the balancer {cluster:>8.1} us");
        println!("to a single worker   {single:>8.1} us   ratio {:.2}", cluster / single.max(1e-9));
    }
    if wanted("deflate") {
        deflate::run(arguments.workers, arguments.clients, &arguments.rooms, Duration::from_secs(arguments.seconds))?;
    }
    Ok(())
}

fn fan_out(arguments: &Arguments) -> io::Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    println!("server CPU per delivered message, {} clients, {} workers", arguments.clients, arguments.workers);
    println!(
        "{:>5} {:>10} {:>12} {:>12} {:>7} {:>12} {:>7} {:>12}",
        "room", "offer", "roomd", "floor", "ratio", "floor pair", "ratio", "deliveries/s"
    );
    for &room_size in &arguments.rooms {
        for (name, offer, floor) in [("paced", PACED, "write"), ("saturated", SATURATED, "join")] {
            let ours = fanout::measure(&Server::roomd(arguments.workers)?, arguments.clients, room_size, offer, time)?;
            let measure = |server| fanout::measure(&server, arguments.clients, room_size, offer, time);
            let least = measure(Server::floor(floor, &ours.sample)?)?;
            let pair = measure(Server::floor_pair(floor, &ours.sample)?)?;
            let micros = [ours.cpu, least.cpu, pair.cpu].map(|cpu| cpu.as_secs_f64() * 1e6);
            println!(
                "{room_size:>5} {name:>10} {:>9.2} us {:>9.2} us {:>7.2} {:>9.2} us {:>7.2} {:>12.0}",
                micros[0],
                micros[1],
                micros[0] / micros[1].max(1e-3),
                micros[2],
                micros[0] / micros[2].max(1e-3),
                ours.rate,
            );
        }
    }
    Ok(())
}

fn types(arguments: &Arguments) -> io::Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    println!("\nserver CPU per delivered message, read into a struct and written from it, and passed on as it came");
    println!("{:>5} {:>10} {:>12} {:>12} {:>7}", "room", "offer", "typed", "raw", "ratio");
    for &room_size in &arguments.rooms {
        for (name, offer) in [("paced", PACED), ("saturated", SATURATED)] {
            let server = Server::two_ways(arguments.workers)?;
            let cpu = typed::measure(&server, arguments.clients, room_size, offer, time)?;
            let [typed, raw] = cpu.map(|cpu| cpu.as_secs_f64() * 1e6);
            println!("{room_size:>5} {name:>10} {typed:>9.2} us {raw:>9.2} us {:>7.2}", typed / raw.max(1e-3));
        }
    }
    Ok(())
}
