//! Headers, read and written.

use proptest::prelude::*;

use crate::logic::reason::CloseCode;
use crate::logic::websocket::frame::{ControlFrame, Expected, Header, Opcode, Violation};

const CLIENT: Expected = Expected {
    masked: true,
    rsv1: false,
    in_message: false,
};
const SERVER: Expected = Expected {
    masked: false,
    rsv1: false,
    in_message: false,
};

fn read(bytes: &[u8], expected: Expected) -> Result<Option<(Header, usize)>, Violation> {
    Header::read(bytes, expected)
}

#[test]
fn every_violation_has_its_bytes() {
    let in_message = Expected {
        in_message: true,
        ..SERVER
    };
    let cases: &[(&[u8], Expected, Violation)] = &[
        (&[0x83], SERVER, Violation::ReservedOpcode(3)),
        (&[0x0f], SERVER, Violation::ReservedOpcode(15)),
        (&[0xc1], SERVER, Violation::ReservedBits(0b100)),
        (&[0xa1], SERVER, Violation::ReservedBits(0b010)),
        (&[0x91], SERVER, Violation::ReservedBits(0b001)),
        (&[0x09], SERVER, Violation::FragmentedControl),
        (&[0x80], SERVER, Violation::NothingToContinue),
        (&[0x81], in_message, Violation::InterleavedMessage),
        (&[0x81, 0x05], CLIENT, Violation::Unmasked),
        (&[0x81, 0x85], SERVER, Violation::Masked),
        (&[0x89, 126], SERVER, Violation::OversizedControl),
        (&[0x88, 1], SERVER, Violation::HalfCloseCode),
        (&[0x82, 126, 0, 125], SERVER, Violation::WastefulLength(125)),
        (
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            SERVER,
            Violation::WastefulLength(65535),
        ),
        (
            &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            SERVER,
            Violation::LengthOverflow,
        ),
    ];
    for &(bytes, expected, violation) in cases {
        assert_eq!(read(bytes, expected), Err(violation), "{bytes:02x?}");
    }
}

#[test]
fn rsv1_stands_on_the_first_frame_of_a_message_where_it_was_negotiated() {
    let deflate = Expected {
        rsv1: true,
        ..SERVER
    };
    assert!(matches!(
        read(&[0xc1, 0], deflate),
        Ok(Some((Header { rsv1: true, .. }, 2)))
    ));
    assert_eq!(
        read(&[0xc9, 0], deflate),
        Err(Violation::ReservedBits(0b100))
    );
    let continued = Expected {
        in_message: true,
        ..deflate
    };
    assert_eq!(
        read(&[0xc0, 0], continued),
        Err(Violation::ReservedBits(0b100))
    );
}

#[test]
fn an_own_close_is_read_back_by_the_peer_it_is_for() {
    let to_backend = ControlFrame::close(Some(CloseCode::GOING_AWAY), Some([1, 2, 3, 4]));
    assert_eq!(
        &to_backend[..],
        &[0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]
    );
    let to_client = ControlFrame::close(Some(CloseCode::GOING_AWAY), None);
    assert_eq!(&to_client[..], &[0x88, 2, 0x03, 0xe9]);
    assert_eq!(&ControlFrame::close(None, None)[..], &[0x88, 0]);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_no_prefix_of_it_is(
        fin: bool, mask: Option<[u8; 4]>, shift in 0..63_u32, any: u64, text: bool,
    ) {
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let payload_len = (any >> 1) >> shift;
        let header = Header { fin, rsv1: false, opcode, mask, payload_len };
        let mut bytes = [0; Header::MAX_LEN];
        let len = header.write(&mut bytes);
        let expected = Expected { masked: mask.is_some(), ..SERVER };
        prop_assert_eq!(read(&bytes[..len], expected), Ok(Some((header, len))));
        for cut in 0..len {
            prop_assert_eq!(read(&bytes[..cut], expected), Ok(None));
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, masked: bool, rsv1: bool, in_message: bool) {
        let _ = read(&bytes, Expected { masked, rsv1, in_message });
    }
}
