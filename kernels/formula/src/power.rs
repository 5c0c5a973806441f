//! Exponential, logarithms and powers, a few bits better than a float holds.
//!
//! libm's are within one unit in the last place, which shows: its `exp(1)` is not the float nearest to e. Here a number is
//! the sum of two floats while it is computed with (T. Dekker, "A floating-point technique for extending the available
//! precision", Numerische Mathematik 18, 1971) and arguments are brought near 0 or 1 by tables (P. Tang, "Table-driven
//! implementation of the exponential function", ACM TOMS 15, 1989). What is left out is below 2^-64 of the result, so the
//! result is the nearest float but for about one argument in some thousands, and then within 0.501 units in the last place.

/// e to the power of a float.
pub fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    exp_of(x, 0.0)
}

/// The natural logarithm.
pub fn ln(x: f64) -> f64 {
    match logarithm_of_special(x) {
        Some(special) => special,
        None => {
            let (high, low) = ln_of(x);
            high + low
        }
    }
}

/// The decimal logarithm.
pub fn log10(x: f64) -> f64 {
    match logarithm_of_special(x) {
        Some(special) => special,
        None => {
            let (high, low) = ln_of(x);
            let (product, rest) = product(high, PER_TEN.0);
            product + (rest + (high * PER_TEN.1 + low * PER_TEN.0))
        }
    }
}

fn logarithm_of_special(x: f64) -> Option<f64> {
    if x.is_nan() || x == f64::INFINITY {
        Some(x)
    } else if x == 0.0 {
        Some(f64::NEG_INFINITY)
    } else if x < 0.0 {
        Some(f64::NAN)
    } else {
        None
    }
}

/// The power, with the special cases of IEEE 754.
pub fn pow(x: f64, y: f64) -> f64 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    let (whole, odd) = parity(y);
    let size = x.abs();
    let sign = if odd && x.is_sign_negative() { -1.0 } else { 1.0 };
    if y.abs() == f64::INFINITY {
        return match size == 1.0 {
            true => 1.0,
            false => limit((size > 1.0) == (y > 0.0)),
        };
    }
    if size == 0.0 || size == f64::INFINITY {
        return sign * limit((size == 0.0) == (y < 0.0));
    }
    if x < 0.0 && !whole {
        return f64::NAN;
    }
    if let Some(exact) = short_power(size, y) {
        return sign * exact;
    }
    sign * power_by(ln_of(size), y)
}

/// The power of an integer to a negative one, neither of them 0. All of the integer counts, though a float holds its first
/// 53 bits only.
pub fn pow_of_integer(x: i128, y: f64) -> f64 {
    let first = x as f64;
    let rest = (x - first as i128) as f64;
    let (_, odd) = parity(y);
    let sign = if odd && x < 0 { -1.0 } else { 1.0 };
    // ln(first + rest) = ln(first) + rest / first - …, and what is left out is below 2^-106.
    let (high, low) = ln_of(first.abs());
    sign * power_by((high, low + rest / first), y)
}

/// The power of what has this logarithm.
fn power_by((high, low): (f64, f64), y: f64) -> f64 {
    let about = y * high;
    if about.abs() > 800.0 {
        return limit(about > 0.0);
    }
    let (exponent, rest) = product(y, high);
    exp_of(exponent, rest + y * low)
}

fn limit(infinite: bool) -> f64 {
    if infinite { f64::INFINITY } else { 0.0 }
}

/// Whether a float is an integer, and whether it is an odd one.
fn parity(y: f64) -> (bool, bool) {
    const BEYOND_ODD: f64 = (1u64 << 53) as f64;
    let size = y.abs();
    if size >= BEYOND_ODD {
        return (true, false);
    }
    let integer = size as u64;
    let whole = integer as f64 == size;
    (whole, whole && integer & 1 == 1)
}

/// Powers of few bits, exact before they are rounded: only these lie halfway between two floats.
fn short_power(size: f64, y: f64) -> Option<f64> {
    if !(2.0..=64.0).contains(&y) {
        return None;
    }
    let exponent = y as u32;
    let (mantissa, scale) = mantissa_and_exponent(size);
    let zeros = mantissa.trailing_zeros();
    let (odd, scale) = (mantissa >> zeros, scale + zeros as i32);
    let bits = (64 - odd.leading_zeros()) * exponent;
    let scale = scale * exponent as i32;
    if f64::from(exponent) != y || bits > 63 || !(-1022..900).contains(&scale) {
        return None;
    }
    let power = odd.pow(exponent) as f64;
    Some(power * power_of_two(scale))
}

/// `mantissa * 2^exponent` of a positive float.
fn mantissa_and_exponent(size: f64) -> (u64, i32) {
    let bits = size.to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

/// e to the power of the sum of two numbers, the second far below the first; not of not-a-number.
fn exp_of(high: f64, low: f64) -> f64 {
    if high > 709.8 {
        return f64::INFINITY;
    }
    if high < -745.2 {
        return 0.0;
    }
    // high + low = steps * ln(2)/64 + r: the product with the upper part is exact, and so is the difference.
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
    let steps = (high * STEPS + ROUND) - ROUND;
    let (r, r_low) = sum(high - steps * STEP.0, -(steps * STEP.1));
    let r_low = r_low + low;
    let steps = steps as i32;
    let (power, table) = (steps >> 6, POWERS[(steps & 63) as usize]);
    // e^(r + r_low) - 1 - r - r_low
    let series = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0))));
    let rest = r * r * (0.5 + r * series) + r_low * (r + 0.5 * r * r);
    // The product of the upper halves is exact.
    let r_high = upper_half(r);
    let small = (r - r_high) + (r_low + rest);
    let step = table.0 * r_high;
    let first = table.0 + step;
    let second = ((table.0 - first) + step) + (table.1 + (table.0 * small + table.1 * (r_high + small)));
    scaled_sum(first, second, power)
}

/// `(first + second) * 2^exponent`, rounded once; the sum lies between 0.99 and 2.
fn scaled_sum(first: f64, second: f64, exponent: i32) -> f64 {
    let whole = first + second;
    if exponent > -1022 || (exponent == -1022 && whole >= 1.0) {
        return if exponent > 0 { whole * power_of_two(exponent - 1) * 2.0 } else { whole * power_of_two(exponent) };
    }
    // Below the normal floats: beside this number, sums are rounded to what is left of the bits.
    let grid = power_of_two(-1022 - exponent);
    let on_grid = grid + first;
    let rounded = on_grid + ((first - (on_grid - grid)) + second);
    f64::from_bits(((rounded - grid) * power_of_two(1074 + exponent)) as u64)
}

/// The logarithm of a positive finite float as the sum of two, to 2^-75 of itself.
fn ln_of(x: f64) -> (f64, f64) {
    const ROOT_OF_TWO: u64 = 0x6_a09e_667f_3bcd;
    let (x, shift) = if x < f64::MIN_POSITIVE { (x * power_of_two(54), -54) } else { (x, 0) };
    let (bits, fraction) = (x.to_bits(), x.to_bits() & ((1 << 52) - 1));
    let above = fraction >= ROOT_OF_TWO;
    let exponent = f64::from((bits >> 52) as i32 - 1023 + i32::from(above) + shift);
    let m = f64::from_bits(fraction | if above { 1022 << 52 } else { 1023 << 52 });

    // m * c = 1 + r, exactly, with a c of eight bits.
    let index = (128.0 / m + 0.5) as usize;
    let c = index as f64 / 128.0;
    let m_high = upper_half(m);
    let (r, r_low) = sum(m_high * c - 1.0, (m - m_high) * c);
    let table = LOGARITHMS[index - 90];

    // ln(1 + r) = r - r²/2 + r³/3 - …, the first three terms as sums of two.
    let (square, square_low) = product(r, r);
    let square_low = square_low + 2.0 * r * r_low;
    let (cube, cube_low) = product(square, r);
    let cube_low = cube_low + (square_low * r + square * r_low);
    let (third, third_low) = product(cube, THIRD.0);
    let third_low = third_low + (cube * THIRD.1 + cube_low * THIRD.0);
    let series = 1.0 / 7.0 - r * (1.0 / 8.0 - r * (1.0 / 9.0 - r * (1.0 / 10.0 - r * (1.0 / 11.0))));
    let rest = square * square * (-0.25 + r * (0.2 - r * (1.0 / 6.0 - r * series)));

    // The upper parts of the two logarithms add without rounding.
    let (first, a) = sum(exponent * LN_2.0 + table.0, r);
    let (first, b) = sum(first, -0.5 * square);
    let (first, c) = sum(first, third);
    let tables = exponent * LN_2.1 + table.1;
    let second = a + (b + (c + (tables + (r_low - 0.5 * square_low + (third_low + rest)))));
    let high = first + second;
    (high, second - (high - first))
}

/// The rounded sum, and what rounding took.
fn sum(a: f64, b: f64) -> (f64, f64) {
    let whole = a + b;
    let part = whole - a;
    (whole, (a - (whole - part)) + (b - part))
}

/// The rounded product, and what rounding took, to a bit of 2^-106.
fn product(a: f64, b: f64) -> (f64, f64) {
    let whole = a * b;
    let (a_high, b_high) = (upper_half(a), upper_half(b));
    let (a_low, b_low) = (a - a_high, b - b_high);
    (whole, ((a_high * b_high - whole) + a_high * b_low + a_low * b_high) + a_low * b_low)
}

/// The quotient of two sums of two, rounded.
pub fn quotient(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (a, b) = (sum(a.0, a.1), sum(b.0, b.1));
    let about = a.0 / b.0;
    let (whole, rest) = product(about, b.0);
    about + ((a.0 - whole) - rest + (a.1 - about * b.1)) / b.0
}

/// The first 26 bits.
fn upper_half(a: f64) -> f64 {
    f64::from_bits(a.to_bits() & !((1 << 27) - 1))
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// 64 / ln(2).
const STEPS: f64 = 92.33248261689366;
/// ln(2) / 64: a multiple of 2^-42, and the rest.
const STEP: (f64, f64) = (0.010830424696223417, 2.572804622327669e-14);
/// ln(2): a multiple of 2^-42, and the rest.
const LN_2: (f64, f64) = (0.6931471805598903, 5.497923018708371e-14);
/// 1 / ln(10), and the rest.
const PER_TEN: (f64, f64) = (0.4342944819032518, 1.098319650216765e-17);
/// A third, and the rest.
const THIRD: (f64, f64) = (1.0 / 3.0, 1.850371707708594e-17);

/// 2^(i/64): a multiple of 2^-25, and the rest.
const POWERS: [(f64, f64); 64] = [
    (1.0, 0.0),
    (1.0108892917633057, -5.71160520404209e-09),
    (1.0218971371650696, 1.1489047098156355e-08),
    (1.0330248773097992, 1.7114292281641707e-09),
    (1.0442737936973572, -1.1269943337412409e-08),
    (1.0556451678276062, 1.0532950957636466e-08),
    (1.0671404004096985, 2.671251318413961e-10),
    (1.078760802745819, -4.988699298056195e-09),
    (1.0905077457427979, -1.307754019235549e-08),
    (1.1023825705051422, 1.2802698731642352e-08),
    (1.1143867373466492, 5.249243366386938e-09),
    (1.1265216171741486, 1.4340933402244862e-09),
    (1.138788640499115, -5.7424233365305445e-09),
    (1.151189237833023, -7.880040365471302e-09),
    (1.1637248694896698, -1.0712092285991114e-08),
    (1.1763969957828522, -4.132570896566917e-09),
    (1.1892071068286896, 8.174031491522187e-09),
    (1.2021567225456238, 8.907079362799523e-09),
    (1.2152473628520966, -2.8716276795006674e-09),
    (1.2284805476665497, -1.1559679676923179e-08),
    (1.2418578267097473, -1.4636263265859448e-08),
    (1.2553807497024536, 7.322237476298141e-09),
    (1.2690509557724, 1.419333320210669e-09),
    (1.2828700244426727, -8.363894448765517e-09),
    (1.296839565038681, -1.0387671364339684e-08),
    (1.3109612166881561, -5.163391786006696e-09),
    (1.3252366483211517, -5.161410438768901e-09),
    (1.3396675288677216, -4.814418552257157e-09),
    (1.3542555570602417, -1.0123348970920735e-08),
    (1.3690024316310883, -8.656497644906336e-09),
    (1.3839098811149597, 8.488722380757845e-10),
    (1.398979663848877, 8.689434187084528e-09),
    (1.4142135679721832, -5.599088178737374e-09),
    (1.4296133518218994, -1.3429929402827435e-08),
    (1.4451808035373688, 3.4396778456229436e-09),
    (1.4609178006649017, -6.484254744747135e-09),
    (1.4768261313438416, 1.4595657758652532e-08),
    (1.4929077327251434, -4.433878583416544e-09),
    (1.509164422750473, 4.842949717305082e-09),
    (1.5255981385707855, 1.2173752784390317e-08),
    (1.5422108173370361, 8.070904690799792e-09),
    (1.55900439620018, 4.03765691332279e-09),
    (1.5759808421134949, 2.994391613408395e-09),
    (1.5931421518325806, -4.903136684690013e-10),
    (1.610490322113037, 9.836217198804521e-09),
    (1.6280274093151093, 1.254223851391853e-08),
    (1.6457554697990417, 8.354923096471882e-09),
    (1.6636765897274017, -9.400665298352101e-09),
    (1.681792825460434, 5.046995126101313e-09),
    (1.7001063525676727, 1.150850740009175e-09),
    (1.7186192870140076, 1.110847034726997e-08),
    (1.7373338341712952, 1.102411082978577e-09),
    (1.7562521696090698, -9.235770341106589e-09),
    (1.7753764986991882, -6.172666979871316e-09),
    (1.7947090864181519, -1.1415044669041046e-08),
    (1.8142521679401398, 7.560258985742023e-09),
    (1.8340080976486206, -1.1239278141981668e-08),
    (1.8539791107177734, 1.4365612130892453e-08),
    (1.8741676211357117, 1.2974588231408124e-08),
    (1.894575983285904, -1.698938289323844e-09),
    (1.9152065515518188, 9.845328446216361e-09),
    (1.9360617995262146, -6.033920149011319e-09),
    (1.9571441113948822, 1.2780518066869885e-08),
    (1.9784560203552246, 6.0327263588832495e-09),
];

/// -ln(i/128) for i from 90 to 182: a multiple of 2^-42, and the rest.
const LOGARITHMS: [(f64, f64); 93] = [
    (0.35222059358943625, -8.414918193489195e-14),
    (0.3411707574027787, -1.156568624616423e-14),
    (0.33024168687052224, 5.4612144489920215e-14),
    (0.3194307707663029, 5.834357420090924e-14),
    (0.30873548164959175, 2.1522127491642888e-14),
    (0.29815337231912054, -4.4204083338755686e-14),
    (0.28768207245184385, -6.292357389008195e-14),
    (0.27731928541629713, -6.279055732660844e-14),
    (0.2670627852489815, 6.371947269815667e-14),
    (0.25691041378513546, -1.0822171646799124e-13),
    (0.2468600779316148, -8.899851356560444e-14),
    (0.2369097470784709, -1.1318526912023687e-13),
    (0.22705745063535687, -1.078736749871691e-14),
    (0.21730127569003344, -5.204008743405884e-14),
    (0.20763936477828793, -4.3425422595242564e-14),
    (0.19806991376208316, 1.0634128304268335e-14),
    (0.18859116980752333, 2.6693431578015818e-14),
    (0.17920142945763473, 7.626153677429339e-14),
    (0.16989903679541385, -1.6376276414097503e-14),
    (0.16068238169054894, -7.547106028244807e-14),
    (0.151549898127314, -1.1307104809870373e-13),
    (0.14250006260726877, 1.4256439478199035e-14),
    (0.13353139262449076, 3.1859736349078334e-14),
    (0.12464244520720058, 7.601671269852866e-14),
    (0.11583181552509814, 2.3568822182038756e-14),
    (0.10709813555627079, 9.631011033519217e-14),
    (0.09844007281321865, 3.3871241029241416e-14),
    (0.08985632912185793, 3.1218748807418837e-15),
    (0.08134563945395712, -4.713370778300984e-15),
    (0.07290677080800378, 8.399594274044337e-14),
    (0.0645385211375924, -2.1225608044809997e-14),
    (0.05623971832278585, 9.023009281142904e-14),
    (0.04800921918626955, 9.106054379130929e-14),
    (0.039845908547249564, -4.9893776716773285e-14),
    (0.03174869831468641, -1.0610652735224087e-13),
    (0.023716526617363343, -4.730054772033249e-14),
    (0.01574835696806076, 7.840703382506278e-14),
    (0.007843177460927109, 9.878410481031469e-14),
    (0.0, 0.0),
    (-0.0077821404420319595, -2.298941004620351e-14),
    (-0.015504186535963527, -1.7274567499706107e-15),
    (-0.023167059281604452, 7.007359704310036e-14),
    (-0.03077165866670839, -4.529814257790929e-14),
    (-0.03831886430202758, -1.0902154302203302e-13),
    (-0.0458095360313564, 6.219834199475792e-14),
    (-0.053244514518837605, 2.532168943117445e-14),
    (-0.06062462181648698, 5.213620639136504e-14),
    (-0.06795066190852594, 1.8195060030168815e-14),
    (-0.07522342123752424, -6.329065958724544e-14),
    (-0.08244366921098845, -8.614512936087814e-14),
    (-0.08961215868976069, 7.355770219435029e-14),
    (-0.09672962645845473, -9.638067658552277e-14),
    (-0.10379679368156758, -7.598636597194141e-14),
    (-0.11081436634026431, -2.5799991283069902e-14),
    (-0.11778303565643, 4.654729747598445e-14),
    (-0.1247034785010328, 7.556920687451337e-14),
    (-0.13157635778861732, -1.0195735223708473e-13),
    (-0.13840232285906495, -5.4183331379008994e-14),
    (-0.14518200984457508, 7.718001336828099e-14),
    (-0.15191604202573217, -1.0980754099855238e-13),
    (-0.15860503017665906, 2.0472357800461955e-14),
    (-0.16524957289539088, 8.372091099235912e-14),
    (-0.17185025692674571, 8.649239607212071e-14),
    (-0.17840765747291698, 9.86835038673495e-14),
    (-0.18492233849406148, 4.9485167661250996e-14),
    (-0.19139485299956505, -6.440856150696892e-14),
    (-0.19782574332998593, 6.604544877082384e-14),
    (-0.2042155414287663, 7.540916511956189e-14),
    (-0.21056476910735, 3.6507188831790577e-16),
    (-0.21687393830052315, -9.120937249914984e-14),
    (-0.22314355131425145, 4.169796584527195e-14),
    (-0.22937410106487732, 3.149265065191484e-14),
    (-0.23556607131286, 9.30945949519689e-14),
    (-0.2417199368871934, 4.8230289429940886e-14),
    (-0.2478361639045943, 1.3029797173308663e-14),
    (-0.25391520998095984, -3.600176732637335e-15),
    (-0.25995752443691345, -1.2621729398885316e-14),
    (-0.2659635484972114, 7.343591369867797e-14),
    (-0.2719337154835557, -8.604306772808733e-14),
    (-0.27786845100354185, 8.554360006566322e-14),
    (-0.28376817313073843, 9.3834172236637e-14),
    (-0.28963329258294834, -9.43339818951269e-14),
    (-0.2954642128938758, 3.993416384387844e-14),
    (-0.3012613305781997, 3.7923164802093147e-14),
    (-0.30702503529482783, -8.403156304792425e-14),
    (-0.31275571000378477, -1.1211800740360982e-13),
    (-0.31845373111855224, 1.7625431312172662e-14),
    (-0.32411946865431673, 1.0475750058776541e-13),
    (-0.32975328637257917, 1.1118671389559323e-13),
    (-0.3353555419212171, 7.925157831386559e-14),
    (-0.34092658697068146, 8.82452633212564e-14),
    (-0.3464667673461008, -1.077574303757264e-13),
    (-0.35197642315711164, -6.654491643324795e-14),
];
