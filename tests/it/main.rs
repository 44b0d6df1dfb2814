//! Integration tests: they drive the built binary as a user does, under a real mpirun, and let Python libraries judge
//! what it wrote. A missing tool is a failure, never a skipped test.

mod answers;
mod architecture;
mod bad_input;
mod checkpoint;
mod checkpoint_bad_input;
mod checkpoint_objects;
mod cli;
mod credentials;
mod fault_proxy;
mod faults;
mod figures;
mod foreign;
mod formats;
mod generate;
mod inspect;
mod launch;
mod leftovers;
mod metadata;
mod mlperf_check;
mod mlperf_dropin;
mod mlperf_report;
mod mlperf_size;
mod moto;
mod object;
mod order;
mod parquet;
mod proxies;
mod ranks;
mod results;
mod scripted;
mod servers;
mod stalls;
mod support;
mod tls;
mod virtual_time;
