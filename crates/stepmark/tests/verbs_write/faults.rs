//! Does each verb have one effect or none, whichever of its store calls fails, and in whatever way?

use std::sync::Arc;

use stepmark::ErrorKind;
use stepmark_conformance::{Fault, FaultPlan, FaultStore};

use crate::deeds::{Deed, Shown, prepare, shown};
use crate::lab::Lab;

/// More calls than any deed makes.
const CALLS_MAX: u64 = 60;

#[tokio::test(start_paused = true)]
async fn every_fault_of_every_call_has_one_effect_in_memory() {
    every_fault(Lab::in_memory).await;
}

#[tokio::test(start_paused = true)]
async fn every_fault_of_every_call_has_one_effect_on_sqlite() {
    every_fault(Lab::on_sqlite).await;
}

async fn every_fault(lab: fn() -> Lab) {
    for deed in Deed::ALL {
        let lab = &lab();
        let name = format!("{deed:?}");
        let places = prepare(lab, &name).await;
        deed.run(&lab.desk(), &name, &places).await.expect("does it");
        let clean = shown(lab, &name).await;
        for fault in Fault::ALL {
            let mut number = 0;
            while trial(lab, deed, (number, fault), &clean).await {
                number += 1;
                assert!(number < CALLS_MAX, "{deed:?} makes ever more calls");
            }
        }
    }
}

/// One fault. Returns whether there was a call that it could strike.
async fn trial(lab: &Lab, deed: Deed, (number, fault): (u64, Fault), clean: &Shown) -> bool {
    let name = format!("{deed:?} {fault:?} {number}");
    let places = prepare(lab, &name).await;
    let before = shown(lab, &name).await;
    let faults = Arc::new(FaultStore::new(Arc::clone(&lab.store), FaultPlan::nth(number, fault)));
    let answer = deed.run(&lab.over(faults.clone()), &name, &places).await;
    let after = shown(lab, &name).await;
    let is_crash = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
    match answer {
        Ok(()) => assert_eq!(after, *clean, "{name}: not one effect"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Store, "{name}: {error}");
            let is_whole = after == before || after == *clean;
            assert!(is_whole || (is_crash && deed == Deed::Input), "{name}: half an effect: {after:#?}");
            assert!(is_crash || after == before, "{name}: an error, and an effect");
            if after != *clean {
                deed.finish(&lab.desk(), &name, &places).await.expect("does it");
            }
            let mut end = shown(lab, &name).await;
            if is_crash {
                end = end.with_claims_of(clean);
            }
            assert_eq!(end, *clean, "{name}: not one effect");
        }
    }
    faults.struck() > 0
}
