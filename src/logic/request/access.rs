//! `access.allow` and `access.deny`: which addresses may come in.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether a client of that address may come in. What is denied stays out, allowed or not; an empty
/// `allow` is everybody.
pub fn admits(allow: &[IpNet], deny: &[IpNet], client: IpAddr) -> bool {
    let client = client.to_canonical();
    let listed = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&client));
    !listed(deny) && (allow.is_empty() || listed(allow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_stays_out_and_an_empty_allow_is_everybody() {
        let nets = |nets: &[&str]| {
            nets.iter()
                .map(|net| net.parse().unwrap())
                .collect::<Vec<IpNet>>()
        };
        let rows: [(&[&str], &[&str], &str, bool); 8] = [
            (&[], &[], "1.2.3.4", true),
            (&["10.0.0.0/8"], &[], "10.1.2.3", true),
            (&["10.0.0.0/8"], &[], "::ffff:10.1.2.3", true),
            (&["10.0.0.0/8"], &[], "11.1.2.3", false),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3", false),
            (&[], &["10.0.0.0/8"], "::ffff:10.1.2.3", false),
            (&["2001:db8::/32"], &[], "2001:db8::1", true),
            (&["0.0.0.0/0"], &[], "2001:db8::1", false),
        ];
        for (allow, deny, client, expected) in rows {
            let admitted = admits(&nets(allow), &nets(deny), client.parse().unwrap());
            assert_eq!(admitted, expected, "{allow:?} {deny:?} {client}");
        }
    }
}
